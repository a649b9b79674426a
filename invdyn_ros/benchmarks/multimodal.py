"""Benchmark of multimodal data: samples of `mlp` and `flow` where two actions cause each motion.

In a toy arm a solenoid turns a joint: its torque is proportional to the square of the current a
[A], so -a and a cause the same motion, I qdd + b qd + c sin q = k a^2. A function that predicts
one action per motion has an error of at least Var(a | motion) = a^2, all of the variance.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios, settings_of
from invdyn_ros.config import to_mapping
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.flow import Flow
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.training.trainer import Trainer, TrainerConfig
from invdyn_ros.training.training_state import RunState

INERTIA, VISCOUS, GRAVITY, TORQUE = 0.1, 0.2, 0.5, 1.0  # kg m2, N m s/rad, N m, N m/A2
CURRENT = (0.5, 1.5)  # [A] range of the magnitude
NEAR_MODE_TOLERANCE = 0.05  # relative distance that counts as on a mode
MIN_COUNT = 10  # smallest number of motions and of draws
FEW_STEPS, MANY_STEPS = 4, 100  # sampling steps to compare


@dataclass(frozen=True)
class MultimodalBenchmarkConfig(BenchmarkOptions):
    """Fractions of samples on each of two actions per motion, and errors."""

    train_samples: Annotated[int, Field(ge=MIN_COUNT)] = 12_000
    """Training motions; a fifth as many are the validation data."""
    test_motions: Annotated[int, Field(ge=MIN_COUNT)] = 250
    """Test motions."""
    draws: Annotated[int, Field(ge=MIN_COUNT)] = 40
    """Actions sampled for each of them."""
    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 100)
    """Sampling steps to try, beside 4 and 100."""
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5)
    """Temperatures to try, beside 1."""
    seed: int = 0
    """Random seed of data, weights and samples."""
    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(epochs=60, early_stopping_patience=60)
    )
    """Training settings of both families."""


def measure_multimodal(config: MultimodalBenchmarkConfig) -> dict[str, Any]:
    """Train `mlp` and `flow` on the toy arm and return the report.

    Columns, in percent: `near_mode` samples within 5% of one of the two actions, `positive` those
    of them near the positive one, `error` the mean relative distance to the nearer action and
    `rms` its root mean square, `nmse` the squared error of the mean prediction relative to the
    variance. A sampling step evaluates the network twice, the last one once.
    """
    machine = machine_info(torch.get_num_threads())
    generator = torch.Generator().manual_seed(config.seed)
    train, val, test = (
        solenoid(size, generator)
        for size in (config.train_samples, config.train_samples // 5, config.test_motions)
    )
    models = {name: fit_model(name, train, val, config) for name in ("mlp", "flow")}
    mean = {name: model.predict(*test[:2]).mean for name, model in models.items()}
    rows: dict[str, Row] = {"best single action": {"nmse": 100 * nmse(0 * test.action, test)}}
    rows["mlp"] = sample_metrics(mean["mlp"][None], test) | {"nmse": 100 * nmse(mean["mlp"], test)}
    flow = models["flow"]
    assert isinstance(flow, Flow)
    for temperature in sorted({*config.temperatures, 1.0}, reverse=True):
        for steps in sorted({*config.steps, FEW_STEPS, MANY_STEPS}):
            noise = torch.Generator().manual_seed(config.seed)
            samples = flow.sample(
                *test[:2], config.draws, temperature, noise, num_inference_steps=steps
            )
            rows[row_name(steps, temperature)] = sample_metrics(samples, test)
    rows["flow, mean"] = {"nmse": 100 * nmse(mean["flow"], test)}
    few, many = (rows[row_name(steps, 1.0)] for steps in (FEW_STEPS, MANY_STEPS))
    return benchmark_report(
        "multimodal",
        unit="%",
        machine=machine,
        settings=settings_of(config),
        rows=rows,
        ratio={f"{FEW_STEPS} steps to {MANY_STEPS}": ratios(few, many, ("error", "rms"))},
    )


def solenoid(count: int, generator: torch.Generator) -> Windows:
    """Return random motions (N, 1, 3) and one of the two currents (N, 1, 1) [A] of each."""
    u, v, w, sign = torch.rand(4, count, generator=generator)
    q, qd = 2 * torch.pi * (u - 0.5), 4 * (v - 0.5)
    current = CURRENT[0] + (CURRENT[1] - CURRENT[0]) * w
    qdd = (TORQUE * current**2 - VISCOUS * qd - GRAVITY * torch.sin(q)) / INERTIA
    action = torch.where(sign < 0.5, -current, current)
    motion = torch.stack([q, qd, qdd], dim=-1)
    return Windows(motion[:, None], torch.zeros(count, 1), action[:, None, None])


def fit_model(
    family: str, train: Windows, val: Windows, config: MultimodalBenchmarkConfig
) -> InverseDynamics:
    """Return a trained model of the toy arm.

    Args:
        family: "mlp" or "flow".
        train: training data.
        val: validation data.
        config: training settings and seed.
    """
    fields = to_mapping(MODELS[family].Config())
    meta = ModelMetadata(family, "solenoid", ("joint",), "A", 100.0, 0.0, "", fields)
    torch.manual_seed(config.seed)
    model = build(meta)
    model.standardise(train)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        state = RunState(Path(folder), {}, meta)
        Trainer(model, train, val, config.trainer, config.seed, state).run()
    return model.eval()


def sample_metrics(samples: Tensor, test: Windows) -> Row:
    """Return the metrics of sampled actions (K, N, 1, 1) against the two of each motion."""
    mode = test.action.abs()
    distance = (samples.abs() - mode).abs() / mode  # the nearer mode has the sign of the sample
    near = distance <= NEAR_MODE_TOLERANCE
    return {
        "near_mode": round(100 * float(near.float().mean()), 2),
        "positive": round(100 * float((near & (samples > 0)).sum() / near.sum().clamp_min(1)), 2),
        "error": round(100 * float(distance.mean()), 3),
        "rms": round(100 * float(distance.square().mean().sqrt()), 3),
    }


def nmse(mean: Tensor, test: Windows) -> float:
    """Return the squared error of one action per motion against either, relative to the variance.

    The actions are -a and a, so that error is p^2 + a^2 and the variance a^2: never less than 1.
    """
    a = test.action
    error = 0.5 * ((mean - a).square() + (mean + a).square())
    return float(error.mean() / a.square().mean())


def row_name(steps: int, temperature: float) -> str:
    """Return the name of a row of the sweep."""
    return f"flow, T {temperature:g}, {steps} steps"

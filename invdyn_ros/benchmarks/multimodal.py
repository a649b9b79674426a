"""Two actions for one motion: a toy arm enters, how families cope with it leaves.

A solenoid turns a joint: its torque goes with the square of the current a [A], so -a and a make
the same motion, and I qdd + b qd + c sin q = k a^2. A function that gives one action per motion
leaves at least Var(a | motion) = a^2 over, which is all of the variance.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios, settings_of
from invdyn_ros.config import Validated, to_mapping
from invdyn_ros.data.windows import Windows
from invdyn_ros.models import InverseDynamics, ModelMetadata, build
from invdyn_ros.models.flow import Flow, FlowConfig
from invdyn_ros.models.mlp import MLPConfig
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import RunState

INERTIA, VISCOUS, GRAVITY, TORQUE = 0.1, 0.2, 0.5, 1.0  # kg m2, N m s/rad, N m, N m/A2
CURRENT = (0.5, 1.5)  # [A] without its sign
NEAR_MODE_TOLERANCE = 0.05  # of a mode: as good as on it
MIN_COUNT = 10  # of motions and draws that tell something
FEW_STEPS, MANY_STEPS = 4, 100  # sampling steps to compare


@dataclass(frozen=True)
class MultimodalBenchmarkConfig(Validated):
    """Two actions for each motion: does a family find both, one, or neither."""

    train_samples: Annotated[int, Field(ge=MIN_COUNT)] = 12_000
    """Motions to learn from; a fifth as many decide when to stop."""
    test_motions: Annotated[int, Field(ge=MIN_COUNT)] = 250
    """Motions to judge by."""
    draws: Annotated[int, Field(ge=MIN_COUNT)] = 40
    """Actions drawn for each of them."""
    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 100)
    """Sampling steps to try, beside 4 and 100."""
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5)
    """Temperatures to try, beside 1."""
    seed: int = 0
    """Of data, weights and draws."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(epochs=60, early_stopping_patience=60)
    )
    """How both families are trained."""
    report: Path | None = None
    """JSON file to write."""


def measure_multimodal(config: MultimodalBenchmarkConfig) -> dict[str, Any]:
    """Train `mlp` and `flow` on the toy and return the report.

    Columns, in percent: `near_mode` of draws within 5% of one of the two actions, `positive` of
    them on the positive one, `error` the mean distance to the nearer action as a share of it and
    `rms` its root mean square, `nmse` the squared error of the mean prediction as a share of the
    variance. A sampling step looks at the network twice, the last one once.
    """
    about = machine_info(torch.get_num_threads())
    random = torch.Generator().manual_seed(config.seed)
    learn, judge, test = (
        solenoid(size, random)
        for size in (config.train_samples, config.train_samples // 5, config.test_motions)
    )
    models = {name: fit_model(name, learn, judge, config) for name in ("mlp", "flow")}
    mean = {name: model.predict(*test[:2]).mean for name, model in models.items()}
    rows: dict[str, Row] = {"best single action": {"nmse": 100 * nmse(0 * test.action, test)}}
    rows["mlp"] = sample_metrics(mean["mlp"][None], test) | {"nmse": 100 * nmse(mean["mlp"], test)}
    flow = models["flow"]
    assert isinstance(flow, Flow)
    for temperature in sorted({*config.temperatures, 1.0}, reverse=True):
        for steps in sorted({*config.steps, FEW_STEPS, MANY_STEPS}):
            draw = torch.Generator().manual_seed(config.seed)
            drawn = flow.sample(
                *test[:2], config.draws, temperature, draw, num_inference_steps=steps
            )
            rows[row_name(steps, temperature)] = sample_metrics(drawn, test)
    rows["flow, mean"] = {"nmse": 100 * nmse(mean["flow"], test)}
    few, many = (rows[row_name(steps, 1.0)] for steps in (FEW_STEPS, MANY_STEPS))
    return benchmark_report(
        "multimodal",
        unit="%",
        machine=about,
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
    """Return a model of the toy."""
    fields = to_mapping({"mlp": MLPConfig, "flow": FlowConfig}[family]())
    meta = ModelMetadata(family, "solenoid", ("joint",), "A", 100.0, 0.0, "", fields)
    torch.manual_seed(config.seed)
    model = build(meta)
    model.standardise(train)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        state = RunState(Path(folder), {}, meta)
        Trainer(model, train, val, config.optimizer, config.seed, state).run()
    return model.eval()


def sample_metrics(drawn: Tensor, test: Windows) -> Row:
    """Compare drawn actions (K, N, 1, 1) with the two that each motion has."""
    mode = test.action.abs()
    distance = (drawn.abs() - mode).abs() / mode  # the nearer mode has the sign of the draw
    near = distance <= NEAR_MODE_TOLERANCE
    return {
        "near_mode": round(100 * float(near.float().mean()), 2),
        "positive": round(100 * float((near & (drawn > 0)).sum() / near.sum().clamp_min(1)), 2),
        "error": round(100 * float(distance.mean()), 3),
        "rms": round(100 * float(distance.square().mean().sqrt()), 3),
    }


def nmse(mean: Tensor, test: Windows) -> float:
    """Return the squared error of one action per motion against either, as a share of variance.

    The actions are -a and a, so that error is p^2 + a^2 and the variance a^2: never less than 1.
    """
    a = test.action
    error = 0.5 * ((mean - a).square() + (mean + a).square())
    return float(error.mean() / a.square().mean())


def row_name(steps: int, temperature: float) -> str:
    """Return the name of a row of the sweep."""
    return f"flow, T {temperature:g}, {steps} steps"

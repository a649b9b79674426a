"""Benchmark of the training speed of the latent ODE against its authors' implementation.

The reference reproduces the code of Rubanova et al. 2019, with the same networks, batch, data and
tolerance: torchdiffeq's adaptive dopri5 for three samples of the latent state, an encoder that
steps through all times at which any motion of the batch is observed, and Adamax.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torchdiffeq import odeint

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import (
    Row,
    benchmark_report,
    machine_info,
    quantiles,
    ratios,
    settings_of,
)
from invdyn_ros.config import Fraction, to_mapping
from invdyn_ros.models.timeseries.encoder_model import TIME_UNIT, EncoderInput
from invdyn_ros.models.timeseries.latent_ode import LatentOde, LatentOdeConfig, odeint_bosh3
from invdyn_ros.models.timeseries.observations import Motions, split_into_motions, subsample
from invdyn_ros.models.timeseries.registry import load_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata
from invdyn_ros.sources.passive_rollouts import (
    PassiveRolloutConfig,
    joint_names,
    load_body,
    passive_rollouts,
)
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig

RTOL, ATOL, NUM_SAMPLES = 1e-3, 1e-4, 3  # the authors' tolerances and number of samples
EXACT_TOLERANCE = 1e-7
BODY = "hopper"
INVDYN, REFERENCE = "invdyn", "reference, torchdiffeq"
BLOCK_LENGTH = 5  # steps in a row; the first is not counted, as it runs with a cold cache
LEARNING_RATE = 1e-2
FROZEN_LEARNING_RATE = 1e-7  # leaves trained weights unchanged


@dataclass(frozen=True)
class LatentOdeTrainingSpeedBenchmarkConfig(BenchmarkOptions):
    """Seconds per training step of a latent ODE, beside the authors' implementation."""

    observed_fraction: Fraction = 0.1
    """Fraction of the samples that are observed."""
    batch_size: PositiveInt = 50
    """Motions per step."""
    steps: PositiveInt = 20
    """Steps of each, alternating in blocks of five; the first block and the first step of each
    block are not counted."""
    model: Path | None = None
    """Folder of a latent ODE of hoppers, whose weights stay unchanged; None: untrained weights."""
    threads: PositiveInt = 1
    """CPU threads of torch."""


class ReferenceLatentOde(LatentOde):
    """The same model, computed as in the authors' code."""

    def encode(self, inputs: EncoderInput) -> Tensor:
        """Return the encoder's state, by one step per time of any observation of the batch."""
        times = torch.unique(inputs.time[inputs.mask])
        batch = torch.arange(len(inputs.time))
        code = torch.zeros(len(inputs.time), self.config.recognition_dim)
        intervals = nn.functional.pad(times.diff(), (0, 1))
        for t, interval in zip(times.flip(0), intervals.flip(0), strict=True):
            code = code - interval * self.encoder_dynamics(code)
            observed = (inputs.time == t) & inputs.mask
            state = inputs.state[batch, observed.int().argmax(1)]
            code = torch.where(observed.any(1, keepdim=True), self.encoder_cell(state, code), code)
        return code - times[0] * self.encoder_dynamics(code)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states, computed for as many samples as the authors draw."""
        samples = z0.repeat(NUM_SAMPLES, 1)
        states = odeint(lambda _, z: self.dynamics(z), samples, time[0], rtol=RTOL, atol=ATOL)
        return states.transpose(0, 1).unflatten(0, (NUM_SAMPLES, -1)).mean(0)


def measure_latent_ode_training_speed(
    config: LatentOdeTrainingSpeedBenchmarkConfig,
) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: `model` is not a folder of a latent ODE.
    """
    machine = machine_info(config.threads)
    torch.set_num_threads(config.threads)
    data = split_into_motions(
        list(passive_rollouts(BODY, PassiveRolloutConfig(10 * config.batch_size), 123)), 200
    )
    models = {
        name: _build(cls, config, data)
        for name, cls in ((INVDYN, LatentOde), (REFERENCE, ReferenceLatentOde))
    }
    adamax = torch.optim.Adamax(models[REFERENCE].parameters(), _learning_rate(config))
    optimizer = Optimizer(
        models[INVDYN].parameters(), OptimizerConfig(learning_rate=_learning_rate(config))
    )
    steps: dict[str, Callable[[Motions], object]] = {
        INVDYN: lambda batch: optimizer.step(lambda: models[INVDYN].loss(*batch)),
        REFERENCE: lambda batch: _step(models[REFERENCE], adamax, batch),
    }
    durations = _time_steps(steps, data, config)
    rows: dict[str, Row] = {
        name: {k: round(v, 5) for k, v in quantiles(values, (10, 50, 90)).items()}
        for name, values in durations.items()
    }
    for name, model in models.items():
        rows[name] |= _solver_errors(model.eval(), name, data)
    return benchmark_report(
        "latent_ode_training_speed",
        unit="s per step; largest and root mean square error of latent states",
        machine=machine,
        settings=settings_of(config),
        rows=rows,
        ratio={f"{REFERENCE} to {INVDYN}": ratios(rows[REFERENCE], rows[INVDYN], ("p10", "p50"))},
    )


def _learning_rate(config: LatentOdeTrainingSpeedBenchmarkConfig) -> float:
    return LEARNING_RATE if config.model is None else FROZEN_LEARNING_RATE


def _build(
    cls: type[LatentOde], config: LatentOdeTrainingSpeedBenchmarkConfig, data: Motions
) -> LatentOde:
    """Return a model in training mode, with the same weights for each class."""
    body = load_body(BODY)
    fields = to_mapping(LatentOdeConfig(observed_fractions=(config.observed_fraction,)))
    torch.manual_seed(0)
    model = cls(
        TimeSeriesMetadata("latent_ode", BODY, joint_names(body), 1 / body.opt.timestep, fields)
    )
    model.standardise(data)
    if config.model is not None:
        model.load_state_dict(load_time_series_model(config.model).state_dict())
    return model


def _step(model: LatentOde, optimizer: torch.optim.Optimizer, batch: Motions) -> None:
    loss = model.loss(*batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _time_steps(
    steps: dict[str, Callable[[Motions], object]],
    data: Motions,
    config: LatentOdeTrainingSpeedBenchmarkConfig,
) -> dict[str, list[float]]:
    """Return the seconds of all counted steps."""
    durations: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(-(-config.steps // BLOCK_LENGTH)):
        for name, step in steps.items():
            for k in range(BLOCK_LENGTH):
                torch.manual_seed(BLOCK_LENGTH * block + k)
                batch = data.rows(torch.randint(data.size, (config.batch_size,)))
                start = time.perf_counter()
                step(batch)
                if block and k:
                    durations[name].append(time.perf_counter() - start)
    return durations


@torch.no_grad()
def _solver_errors(model: LatentOde, name: str, data: Motions) -> Row:
    """Return the errors of the latent states, against a solution of small tolerance.

    The initial states are those that the encoder predicts for data: elsewhere the dynamics are
    not trained.
    """
    inputs, _, _ = model.encoder_inputs(subsample(data.state[:, :100], data.time[:, :100], 0.1, 0))
    z0 = model.posterior(LatentOde.encode(model, inputs)).chunk(2, 1)[0].double()
    times = torch.arange(100, dtype=torch.float64) / TIME_UNIT
    dynamics = deepcopy(model.dynamics).double()
    func: Callable[[Any, Tensor], Tensor] = lambda _, z: dynamics(z)  # noqa: E731
    exact = odeint(func, z0, times, rtol=EXACT_TOLERANCE, atol=EXACT_TOLERANCE).transpose(0, 1)
    if name == INVDYN:
        states = odeint_bosh3(
            dynamics, z0, times.expand(len(z0), -1), model.config.solver_stride / TIME_UNIT
        )
    else:
        states = odeint(func, z0, times, rtol=RTOL, atol=ATOL).transpose(0, 1)
    error = states - exact
    return {
        "error": float(f"{float(error.abs().max()):.3g}"),
        "rms": float(f"{float(error.square().mean().sqrt()):.3g}"),
    }

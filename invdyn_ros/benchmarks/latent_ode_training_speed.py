"""How long a step of training a latent ODE takes: nothing enters, ours beside its authors' leaves.

The peer does what the code of Rubanova et al. 2019 does, with the same networks, batch, data and
tolerance: torchdiffeq's adaptive dopri5 for the latent state, of which it draws three, an encoder
that goes through all times at which any motion of the batch was seen, and Adamax.
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

from invdyn_ros.benchmarks.report import (
    Row,
    benchmark_report,
    machine_info,
    quantiles,
    ratios,
    settings_of,
)
from invdyn_ros.config import Fraction, Validated, to_mapping
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

RTOL, ATOL, NUM_SAMPLES = 1e-3, 1e-4, 3  # tolerances and draws of the authors
EXACT_TOLERANCE = 1e-7
BODY = "hopper"
OURS, REFERENCE = "ours", "authors' way, torchdiffeq"
BLOCK_LENGTH = 5  # steps in a row, of which the first is not counted: others' memory is in its way
LEARNING_RATE, FROZEN_LEARNING_RATE = (
    1e-2,
    1e-7,
)  # learning rates; trained weights stay as they are


@dataclass(frozen=True)
class LatentOdeTrainingSpeedBenchmarkConfig(Validated):
    """Seconds per step of training a latent ODE, beside its authors' way of it."""

    observed_fraction: Fraction = 0.1
    """Share of the samples that are seen."""
    batch_size: PositiveInt = 50
    """Motions per step."""
    steps: PositiveInt = 20
    """Steps of each, five at a time in turn; the first five and the first of five do not count."""
    model: Path | None = None
    """Folder of a latent ODE of hoppers, whose weights stay as they are; none: fresh ones."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write."""


class ReferenceLatentOde(LatentOde):
    """The same model, computed as its authors compute it."""

    def encode(self, inputs: EncoderInput) -> Tensor:
        """Return what is known of each motion, by one step per time of any observation."""
        times = torch.unique(inputs.time[inputs.mask])
        each = torch.arange(len(inputs.time))
        code = torch.zeros(len(inputs.time), self.config.recognition_dim)
        gaps = nn.functional.pad(times.diff(), (0, 1))
        for moment, gap in zip(times.flip(0), gaps.flip(0), strict=True):
            code = code - gap * self.encoder_dynamics(code)
            here = (inputs.time == moment) & inputs.mask
            state = inputs.state[each, here.int().argmax(1)]
            code = torch.where(here.any(1, keepdim=True), self.encoder_cell(state, code), code)
        return code - times[0] * self.encoder_dynamics(code)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states, computed as often as the authors draw some."""
        many = z0.repeat(NUM_SAMPLES, 1)
        path = odeint(lambda _, z: self.dynamics(z), many, time[0], rtol=RTOL, atol=ATOL)
        return path.transpose(0, 1).unflatten(0, (NUM_SAMPLES, -1)).mean(0)


def measure_latent_ode_training_speed(
    config: LatentOdeTrainingSpeedBenchmarkConfig,
) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: no latent ODE where `model` points.
    """
    about = machine_info(config.threads)
    torch.set_num_threads(config.threads)
    data = split_into_motions(
        list(passive_rollouts(BODY, PassiveRolloutConfig(10 * config.batch_size), 123)), 200
    )
    nets = {
        name: _build(kind, config, data)
        for name, kind in ((OURS, LatentOde), (REFERENCE, ReferenceLatentOde))
    }
    adamax = torch.optim.Adamax(nets[REFERENCE].parameters(), _learning_rate(config))
    ours = Optimizer(
        nets[OURS].parameters(), OptimizerConfig(learning_rate=_learning_rate(config))
    )
    steps: dict[str, Callable[[Motions], object]] = {
        OURS: lambda batch: ours.step(lambda: nets[OURS].loss(*batch)),
        REFERENCE: lambda batch: _step(nets[REFERENCE], adamax, batch),
    }
    taken = _time_steps(steps, data, config)
    rows: dict[str, Row] = {
        name: {k: round(v, 5) for k, v in quantiles(values, (10, 50, 90)).items()}
        for name, values in taken.items()
    }
    for name, net in nets.items():
        rows[name] |= _solver_errors(net.eval(), name, data)
    return benchmark_report(
        "latent_ode_training_speed",
        unit="s per step; largest and root mean square error of latent states",
        machine=about,
        settings=settings_of(config),
        rows=rows,
        ratio={f"{REFERENCE} to {OURS}": ratios(rows[REFERENCE], rows[OURS], ("p10", "p50"))},
    )


def _learning_rate(config: LatentOdeTrainingSpeedBenchmarkConfig) -> float:
    return LEARNING_RATE if config.model is None else FROZEN_LEARNING_RATE


def _build(
    kind: type[LatentOde], config: LatentOdeTrainingSpeedBenchmarkConfig, data: Motions
) -> LatentOde:
    """Return a network in training, of the same weights whatever the kind."""
    model = load_body(BODY)
    shape = to_mapping(LatentOdeConfig(observed_fractions=(config.observed_fraction,)))
    torch.manual_seed(0)
    net = kind(
        TimeSeriesMetadata("latent_ode", BODY, joint_names(model), 1 / model.opt.timestep, shape)
    )
    net.standardise(data)
    if config.model is not None:
        net.load_state_dict(load_time_series_model(config.model).state_dict())
    return net


def _step(net: LatentOde, optimiser: torch.optim.Optimizer, batch: Motions) -> None:
    loss = net.loss(*batch)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _time_steps(
    steps: dict[str, Callable[[Motions], object]],
    data: Motions,
    config: LatentOdeTrainingSpeedBenchmarkConfig,
) -> dict[str, list[float]]:
    """Return the seconds of all steps that count."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-(-config.steps // BLOCK_LENGTH)):
        for name, step in steps.items():
            for k in range(BLOCK_LENGTH):
                torch.manual_seed(BLOCK_LENGTH * turn + k)
                batch = data.rows(torch.randint(data.size, (config.batch_size,)))
                begun = time.perf_counter()
                step(batch)
                if turn and k:
                    taken[name].append(time.perf_counter() - begun)
    return taken


@torch.no_grad()
def _solver_errors(net: LatentOde, name: str, data: Motions) -> Row:
    """Return how far latent states are from their exact course, after the steps of training.

    They start where the encoder says of some data: elsewhere the network has never been asked.
    """
    seen, _, _ = net.encoder_inputs(subsample(data.state[:, :100], data.time[:, :100], 0.1, 0))
    start = net.posterior(LatentOde.encode(net, seen)).chunk(2, 1)[0].double()
    at = torch.arange(100, dtype=torch.float64) / TIME_UNIT
    flow = deepcopy(net.dynamics).double()
    field: Callable[[Any, Tensor], Tensor] = lambda _, z: flow(z)  # noqa: E731
    exact = odeint(field, start, at, rtol=EXACT_TOLERANCE, atol=EXACT_TOLERANCE).transpose(0, 1)
    if name == OURS:
        found = odeint_bosh3(
            flow, start, at.expand(len(start), -1), net.config.solver_stride / TIME_UNIT
        )
    else:
        found = odeint(field, start, at, rtol=RTOL, atol=ATOL).transpose(0, 1)
    missed = found - exact
    return {
        "error": float(f"{float(missed.abs().max()):.3g}"),
        "rms": float(f"{float(missed.square().mean().sqrt()):.3g}"),
    }

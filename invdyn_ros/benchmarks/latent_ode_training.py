"""How long a step of training a latent ODE takes: nothing enters, ours beside its authors' leaves.

The peer does what the code of Rubanova et al. 2019 does, with the same networks, batch, data and
tolerance: torchdiffeq's adaptive dopri5 for the latent state, of which it draws three, and an
encoder that goes through all times at which any motion of the batch was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from invdyn_ros.benchmarks.report import Row, machine, quantiles, ratios
from invdyn_ros.config import Checked, Count, Share, to_mapping
from invdyn_ros.paths.encoded import UNIT, Seen, since
from invdyn_ros.paths.latent_ode import LatentOde, LatentOdeConfig, solved
from invdyn_ros.paths.path_model import PathMeta
from invdyn_ros.paths.record import Motions, motions
from invdyn_ros.sources.falls import FallConfig, body, falls, joints

RELATIVE, ABSOLUTE, DRAWN = 1e-3, 1e-4, 3  # tolerances and draws of the authors
TIGHT = 1e-7
BODY = "hopper"
OURS, PEER = "ours", "authors' way, torchdiffeq"


@dataclass(frozen=True)
class LatentOdeTrainingConfig(Checked):
    """Seconds per step of training a latent ODE, beside its authors' way of it."""

    share: Share = 0.1
    """Share of the samples that are seen."""
    batch: Count = 50
    """Motions per step."""
    steps: Count = 20
    """Steps of each, in turn; the first few teach and are not counted."""
    threads: Count = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write."""


class Authors(LatentOde):
    """The same model, computed as its authors compute it."""

    def encoded(self, seen: Seen) -> Tensor:
        """Return what is known of each motion, by one step per time of any observation."""
        times = torch.unique(seen.time[seen.real])
        each = torch.arange(len(seen.time))
        code = torch.zeros(len(seen.time), self.config.recognised)
        gaps = since(times[None])[0]
        for moment, gap in zip(times.flip(0), gaps.flip(0), strict=True):
            code = code - gap * self.drift(code)
            here = (seen.time == moment) & seen.real
            state = seen.state[each, here.int().argmax(1)]
            code = torch.where(here.any(1, keepdim=True), self.cell(state, code), code)
        return code - times[0] * self.drift(code)

    def moved(self, start: Tensor, time: Tensor) -> Tensor:
        """Return the latent states, computed as often as the authors draw some."""
        many = start.repeat(DRAWN, 1)
        path = odeint(lambda _, z: self.flow(z), many, time[0], rtol=RELATIVE, atol=ABSOLUTE)
        return path.transpose(0, 1).unflatten(0, (DRAWN, -1)).mean(0)


def measure_latent_ode_training(config: LatentOdeTrainingConfig) -> dict[str, Any]:
    """Return the report."""
    about = machine(config.threads)
    torch.set_num_threads(config.threads)
    model = body(BODY)
    data = motions(list(falls(BODY, FallConfig(10 * config.batch), 123)), 200)
    shape = LatentOdeConfig(shares=(config.share,))
    meta = PathMeta("latent_ode", BODY, joints(model), 1 / model.opt.timestep, to_mapping(shape))
    learners = {name: _learner(kind, meta, data) for name, kind in ((OURS, LatentOde),
                                                                  (PEER, Authors))}  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in learners}
    for number in range(config.steps):
        rows = torch.randint(data.size, (config.batch,))
        for name, (net, optimiser) in learners.items():
            torch.manual_seed(number)
            begun = time.perf_counter()
            loss = net.loss(*data.rows(rows))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            taken[name].append(time.perf_counter() - begun)
    first = config.steps // 4
    rows_: dict[str, Row] = {
        name: {k: round(v, 5) for k, v in quantiles(values[first:], (10, 50, 90)).items()}
        for name, values in taken.items()
    }
    for name, (net, _) in learners.items():
        rows_[name]["solver error"] = _solver_error(net, name)
    return {
        "benchmark": "latent_ode_training",
        "unit": "s per step; largest error of the latent state",
        "machine": about,
        "settings": {k: v for k, v in to_mapping(config).items() if k != "report"},
        "rows": rows_,
        "ratio": {f"{PEER} to {OURS}": ratios(rows_[PEER], rows_[OURS], ("p50",))},
    }


def _learner(
    kind: type[LatentOde], meta: PathMeta, data: Motions
) -> tuple[LatentOde, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = kind(replace(meta))
    net.standardise(data)
    return net, torch.optim.Adamax(net.parameters(), 1e-2)


@torch.no_grad()
def _solver_error(net: LatentOde, name: str) -> float:
    """Return how far a latent state is from its exact course, after the steps of training."""
    torch.manual_seed(0)
    start = torch.randn(16, net.config.latent, dtype=torch.float64)
    at = torch.arange(100, dtype=torch.float64) / UNIT
    flow = deepcopy(net.flow).double()
    field: Callable[[Any, Tensor], Tensor] = lambda _, z: flow(z)  # noqa: E731
    exact = odeint(field, start, at, rtol=TIGHT, atol=TIGHT).transpose(0, 1)
    if name == OURS:
        found = solved(flow, start, at.expand(16, -1), net.config.stride / UNIT)
    else:
        found = odeint(field, start, at, rtol=RELATIVE, atol=ABSOLUTE).transpose(0, 1)
    return round(float((found - exact).abs().max()), 7)

"""How messages of joint states really come: regular trajectories enter, irregular ones leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.typing import Mask

DROPPED = "messages lost at random"


@dataclass(frozen=True)
class SamplingDropoutConfig(Validated):
    """What happens to samples on their way; no accelerations are left of irregular ones."""

    drop: FractionBelowOne = 0.0
    """Share of the samples that are lost."""
    mean_burst_length: Annotated[float, Field(ge=0)] = 0.0
    """Mean number of samples lost in a row, what is between comes in bursts; 0: no order."""
    jitter: FractionBelowOne = 0.0
    """How far apart in time samples stray, up to half of it either way [intervals]."""

    def __post_init__(self) -> None:
        """Refuse pauses shorter than what such a share must have, with a sample between."""
        super().__post_init__()
        shortest = self.drop / (1 - self.drop)
        if self.mean_burst_length and self.mean_burst_length < max(shortest, 1.0):
            raise ValueError(
                f"mean_burst_length is {self.mean_burst_length}; with a drop of {self.drop} it must be at least "
                f"{max(shortest, 1.0):.3g}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether nothing happens to them."""
        return self.drop == self.jitter == 0


def drop_and_jitter(whole: ImportResult, config: SamplingDropoutConfig, seed: int) -> ImportResult:
    """Return trajectories of which samples strayed and were lost, and say how many.

    Raises:
        ValueError: less than two samples are left of one.
    """
    if config.is_identity:
        return whole
    made = []
    for k, trajectory in enumerate(whole.trajectories):
        random = np.random.default_rng([seed, k])
        strayed = _jittered(trajectory, config.jitter, random)
        came = arrival_mask(len(strayed), config, random)
        if came.sum() < 2:
            raise ValueError(f"of trajectory {k}, {came.sum()} samples are left; drop fewer")
        left = strayed[came]
        made.append(replace(left, acceleration=left.acceleration[:0]))
    lost = sum(map(len, made)) - sum(map(len, whole.trajectories))
    return ImportResult(made, whole.rows, whole.changes | {DROPPED: lost})


def arrival_mask(count: int, config: SamplingDropoutConfig, random: np.random.Generator) -> Mask:
    """Say which of some samples in a row arrive, (count,)."""
    chance = random.random(count)
    if not config.mean_burst_length:
        return np.asarray(chance >= config.drop)
    # a Markov chain of two states (Gilbert 1960): its pauses have that mean, its share is `drop`
    resumes = 1 / config.mean_burst_length
    breaks = resumes * config.drop / (1 - config.drop)
    there, rows = chance[0] >= config.drop, []
    for draw in random.random(count):
        rows.append(there)
        there = draw >= breaks if there else draw < resumes
    return np.array(rows)


def _jittered(whole: Trajectory, jitter: float, random: np.random.Generator) -> Trajectory:
    """Return what is measured at stamps that stray; ends stay inside."""
    if not jitter:
        return whole
    time = whole.time + jitter / whole.rate * random.uniform(-0.5, 0.5, len(whole))
    return whole.interpolate(np.clip(time, whole.time[0], whole.time[-1]))

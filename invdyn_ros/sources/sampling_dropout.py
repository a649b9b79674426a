"""Dropout and jitter of samples, like those of joint states that arrive over a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.typing import Mask

DROPPED = "samples dropped at random"


@dataclass(frozen=True)
class SamplingDropoutConfig(Validated):
    """Dropout and jitter of samples; irregular trajectories have no accelerations."""

    drop: FractionBelowOne = 0.0
    """Fraction of the samples that is dropped."""
    mean_burst_length: Annotated[float, Field(ge=0)] = 0.0
    """Mean number of consecutive dropped samples; 0: samples are dropped independently."""
    jitter: FractionBelowOne = 0.0
    """Width of the uniform distribution of time offsets [sampling intervals]."""

    def __post_init__(self) -> None:
        """Check that the mean burst length is possible with this dropout."""
        super().__post_init__()
        shortest = self.drop / (1 - self.drop)
        if self.mean_burst_length and self.mean_burst_length < max(shortest, 1.0):
            raise ValueError(
                f"mean_burst_length is {self.mean_burst_length}; with a drop of {self.drop} it "
                f"must be at least {max(shortest, 1.0):.3g}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether trajectories stay unchanged."""
        return self.drop == self.jitter == 0


def drop_and_jitter(
    result: ImportResult, config: SamplingDropoutConfig, seed: int
) -> ImportResult:
    """Jitter the times of trajectories and drop samples; the number of these is counted.

    Args:
        result: regular trajectories.
        config: dropout and jitter.
        seed: random seed.

    Raises:
        ValueError: fewer than two samples of a trajectory are left.
    """
    if config.is_identity:
        return result
    trajectories = []
    for k, trajectory in enumerate(result.trajectories):
        random = np.random.default_rng([seed, k])
        jittered = _jittered(trajectory, config.jitter, random)
        mask = arrival_mask(len(jittered), config, random)
        if mask.sum() < 2:
            raise ValueError(f"{mask.sum()} samples of trajectory {k} are left; drop fewer")
        remaining = jittered[mask]
        trajectories.append(replace(remaining, acceleration=remaining.acceleration[:0]))
    change = sum(map(len, trajectories)) - sum(map(len, result.trajectories))
    return ImportResult(trajectories, result.rows, result.changes | {DROPPED: change})


def arrival_mask(count: int, config: SamplingDropoutConfig, random: np.random.Generator) -> Mask:
    """Return which of `count` consecutive samples arrive.

    Args:
        count: number of samples.
        config: dropout.
        random: random generator.
    """
    draws = random.random(count)
    if not config.mean_burst_length:
        return np.asarray(draws >= config.drop)
    # two-state Markov chain (Gilbert 1960) with this mean burst length and a fraction `drop`
    recovery_probability = 1 / config.mean_burst_length
    loss_probability = recovery_probability * config.drop / (1 - config.drop)
    arrives, rows = draws[0] >= config.drop, []
    for draw in random.random(count):
        rows.append(arrives)
        arrives = draw >= loss_probability if arrives else draw < recovery_probability
    return np.array(rows)


def _jittered(trajectory: Trajectory, jitter: float, random: np.random.Generator) -> Trajectory:
    """Interpolate a trajectory at jittered times, which are clipped to its duration."""
    if not jitter:
        return trajectory
    time = trajectory.time + jitter / trajectory.rate * random.uniform(-0.5, 0.5, len(trajectory))
    return trajectory.interpolate(np.clip(time, trajectory.time[0], trajectory.time[-1]))

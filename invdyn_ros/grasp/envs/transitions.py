"""Transitions of an environment as plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Transitions(NamedTuple):
    """Consecutive transitions of an environment.

    Attributes:
        observations: (N, o) before each step.
        next_observations: (N, o) after each step.
        actions: (N, a).
        rewards: (N,).
        dones: (N,) 1 where an episode terminated; 0 also where it was truncated.
    """

    observations: NDArray[np.float32]
    next_observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    dones: NDArray[np.float32]

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Transitions:
        """Stack rows of (observation, next observation, action, reward, done)."""
        return cls(*(np.array(column, np.float32) for column in zip(*rows, strict=True)))

    @classmethod
    def concatenate(cls, parts: Sequence[Transitions]) -> Transitions:
        """Concatenate several transitions in order."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

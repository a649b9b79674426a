"""Friction of a joint at rest, which depends on how the joint came there.

A model of single frames has the Coulomb friction C s, where the smooth sign s of the velocity is
zero at rest. A part K of C is carried by a Maxwell-slip element, a spring that slips at a
displacement d, whose state z keeps the direction of the last motion:

    z(t + 1) = clip(z(t) + (q(t + 1) - q(t)) / d, -1, 1)

so that K (z - s) is added to what the model predicts of a recording. While a joint moves, it is
zero. Commands to an arm do not have it: computed from measured positions, it would be a positive
feedback of stiffness K / d. Lampaert, Al-Bender, Swevers 2003, doi 10.1109/PHYCON.2003.1237071.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.typing import Array

DISPLACEMENTS = (1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 3e-3)  # [rad] candidates
MIN_RELATIVE_ERROR = 1e-3  # with it; less is no reason to choose it
MIN_IMPROVEMENT = 0.05  # fraction by which it must lower the error at rest, against overfitting

Presliding = tuple[tuple[float, float], ...]
"""Displacement [rad] and torque K [action unit] of each joint."""


class RestError(NamedTuple):
    """Errors of a model on a recording, and what the candidates would add to its predictions.

    Attributes:
        error: (T, n) recorded less predicted.
        change: (C, T, n) of unit torque, for each of DISPLACEMENTS.
        at_rest: (T, n) whether a joint may stick.
    """

    error: Array
    change: Array
    at_rest: Array


def maxwell_slip(q: Array, displacement: Array, start: Array) -> Array:
    """Return the states z (..., T, n) of Maxwell-slip elements, from -1 to 1.

    Args:
        q: (T, n) positions [rad].
        displacement: (..., n) at which they slip [rad].
        start: (n,) states at the first position.
    """
    steps = np.diff(q, axis=0)[(...,) + (None,) * (displacement.ndim - 1) + (slice(None),)]
    state = np.broadcast_to(start, displacement.shape)
    states = [state]
    for step in steps / displacement:
        state = np.minimum(np.maximum(state + step, -1.0), 1.0)
        states.append(state)
    return np.stack(states, axis=-2)


def identify_presliding(
    train: Sequence[RestError], val: Sequence[RestError], coulomb: Array
) -> Presliding:
    """Return displacement and torque of each joint, empty if no joint is better with them.

    Args:
        train: recordings to identify the torque from.
        val: recordings to choose the displacement on.
        coulomb: (n,) Coulomb friction, the largest torque.
    """
    power = np.sum([(part.change**2).sum(1) for part in train], axis=0)  # (C, n)
    moment = np.sum([(part.change * part.error).sum(1) for part in train], axis=0)
    torque = np.clip(moment / np.maximum(power, np.finfo(float).tiny), 0, coulomb)
    left = [(part.error - torque[:, None] * part.change) ** 2 * part.at_rest for part in val]
    errors = np.sum([square.sum(1) for square in left], axis=0)
    without = np.sum([(part.error**2 * part.at_rest).sum(0) for part in val], axis=0)
    # one displacement for all joints, since a recording has few rests
    relative = errors / np.maximum(without, np.finfo(float).tiny)
    best = int(np.log(np.maximum(relative, MIN_RELATIVE_ERROR)).mean(1).argmin())
    torques = np.where(relative[best] < 1 - MIN_IMPROVEMENT, torque[best], 0.0)
    if not torques.any():
        return ()
    return tuple((DISPLACEMENTS[best], float(K)) for K in torques)

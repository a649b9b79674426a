"""Levenberg-Marquardt optimization of a pose (Marquardt 1963)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from invdyn_ros.perception.rigid_transforms import apply_step

INITIAL_DAMPING = 1e-3  # relative to the diagonal of J^T J
DAMPING_FACTOR = 10.0  # by which the damping falls after a good step and rises after a bad one


class Evaluation(Protocol):
    """Protocol of the residual of a pose."""

    @property
    def residual(self) -> np.ndarray:
        """(n,) weighted residual."""

    @property
    def squared_error(self) -> float:
        """Sum of squares of the residual."""


E = TypeVar("E", bound=Evaluation)


def minimize_pose(
    T: np.ndarray,
    evaluate: Callable[[np.ndarray], E],
    jacobian: Callable[[np.ndarray, E], np.ndarray],
    max_iterations: int,
    step_tolerance: float = 0.0,
    min_relative_gain: float = 0.0,
    is_valid: Callable[[np.ndarray], bool] = lambda _: True,
) -> tuple[np.ndarray, E]:
    """Minimize the squared residual of a pose.

    Args:
        T: (4, 4) initial pose.
        evaluate: returns the residual of a pose.
        jacobian: returns the derivative (n, 6) of the residual with respect to the entries of a
            step, see `apply_step`.
        max_iterations: maximum number of steps to try.
        step_tolerance: a smaller step ends the optimization [m, rad].
        min_relative_gain: a step that reduces the squared error by a smaller fraction ends it.
        is_valid: whether a pose may be the solution; steps to other poses are rejected.

    Returns:
        The pose (4, 4) and its evaluation; the initial one where the residual does not depend on
        the pose.
    """
    damping, current = INITIAL_DAMPING, evaluate(T)
    J = jacobian(T, current)
    for _ in range(max_iterations):
        H = J.T @ J
        try:
            step = -np.linalg.solve(H + damping * np.diag(np.diag(H)), J.T @ current.residual)
        except np.linalg.LinAlgError:  # the residual does not depend on the pose
            break
        T_new = apply_step(T, step)
        new = evaluate(T_new)
        converged = np.abs(step).max() < step_tolerance
        if is_valid(T_new) and new.squared_error < current.squared_error:
            converged |= 1 - new.squared_error / current.squared_error < min_relative_gain
            T, current, damping = T_new, new, damping / DAMPING_FACTOR
            J = jacobian(T, current)
        else:
            damping *= DAMPING_FACTOR
        if converged:
            break
    return T, current

"""Check of the unit of a recorded effort against the rigid body of the URDF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.data.action_units import (
    CURRENT,
    SETPOINT,
    TORQUE,
    TORQUE_WITHOUT_GRAVITY,
)
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

MAX_ROWS = 4000  # enough for a few parameters of each joint
UNITS = (TORQUE, TORQUE_WITHOUT_GRAVITY, CURRENT, SETPOINT)
COULOMB_VELOCITY = 0.02  # [rad/s] at which Coulomb friction is fully developed
MAX_UNEXPLAINED = 0.5  # of the variance of the effort [-]; with more the URDF does not tell
LIKELIER = 0.5  # of the unexplained variance of another unit [-]
MIN_NEGATED = 2  # joints that tell the sign of the effort
DETERMINED = 0.5  # of what friction does not explain, for a factor that the data determine [-]
# current per torque [A/(N m)] of geared arms is 0.05 to 0.2; a torque has 1
MAX_CURRENT_PER_TORQUE = 0.5


class EffortFit(NamedTuple):
    """How well a URDF explains an effort in each unit.

    Attributes:
        unexplained: unit -> fraction of the variance of the effort that URDF and friction do not
            explain [-], the mean over the joints.
        by_friction: fraction that friction alone does not explain [-].
        current_per_torque: (n,) factor with which the torque of the URDF explains the effort best.
        is_determined: (n,) whether it explains twice as much as friction alone.
    """

    unexplained: dict[str, float]
    by_friction: float
    current_per_torque: Array
    is_determined: Mask

    @property
    def factor(self) -> float:
        """Median factor of the joints with which the torque explains the effort [A/(N m)]."""
        return float(np.median(self.current_per_torque))

    @property
    def may_be_current(self) -> bool:
        """Whether the factors are those of motors; they explain a torque, too, and are then 1.

        Inertias of a URDF that are placeholders give any factor, so that all joints have to agree.
        """
        factors = self.current_per_torque[self.is_determined]
        return len(factors) > 0 and bool(
            ((factors > 0) & (factors < MAX_CURRENT_PER_TORQUE)).all()
        )

    @property
    def is_negated(self) -> bool:
        """Whether the torque of the URDF explains the negative of the effort."""
        factors = self.current_per_torque[self.is_determined]
        return len(factors) >= min(MIN_NEGATED, len(self.is_determined)) and bool(
            (factors < -MAX_CURRENT_PER_TORQUE).all()
        )

    def likeliest(self) -> str | None:
        """Return the likeliest unit, None if the URDF explains too little in any unit."""
        errors = {k: v for k, v in self.unexplained.items() if k != CURRENT or self.may_be_current}
        best = min(errors, key=lambda unit: errors[unit])
        is_explained = errors[best] < min(MAX_UNEXPLAINED, LIKELIER * self.by_friction)
        return best if is_explained else None

    def contradicts(self, unit: str) -> bool:
        """Return whether another unit than the stated one is clearly likelier."""
        likeliest = self.likeliest()
        if likeliest is None or likeliest == unit:
            return False
        if unit == CURRENT and not self.may_be_current:
            return True
        return self.unexplained[likeliest] < LIKELIER * self.unexplained[unit]


def fit_effort(robot: Robot, trajectories: Sequence[Trajectory]) -> EffortFit:
    """Fit friction, and a factor for currents, to the effort of recordings.

    Args:
        robot: the arm.
        trajectories: recordings with accelerations and efforts.
    """
    ends = np.cumsum([len(t) for t in trajectories])
    rows = np.linspace(0, ends[-1] - 1, min(ends[-1], MAX_ROWS)).astype(int)
    which = np.searchsorted(ends, rows, side="right")
    parts = [
        trajectories[k][rows[which == k] - (ends[k] - len(trajectories[k]))]
        for k in np.unique(which)
    ]
    motion = np.concatenate([part.motion for part in parts])
    effort = np.concatenate([part.action for part in parts])
    q, qd, qdd = np.split(motion, 3, axis=1)
    tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
    position, *rates = (torch.as_tensor(values) for values in (q, qd, qdd))
    still = torch.zeros_like(position)
    torque = tree.torque(position, *rates).numpy()
    gravity = tree.torque(position, still, still).numpy()
    friction = np.stack([qd, np.tanh(qd / COULOMB_VELOCITY), np.ones_like(qd), qdd], axis=-1)
    variance = effort.var(0)
    moves = variance > 1e-12 * np.maximum(effort**2, 1e-12).mean(0)
    rows_of_joints, factors = [], []
    for j in np.flatnonzero(moves):
        columns = (effort[:, j], q[:, j], torque[:, j], gravity[:, j])
        residuals, factor = _residuals(*columns, friction[:, j])
        rows_of_joints.append([(r**2).mean() / variance[j] for r in residuals])
        factors.append(factor)
    if not factors:
        return EffortFit(dict.fromkeys(UNITS, 1.0), 1.0, np.ones(1), np.zeros(1, bool))
    errors = np.array(rows_of_joints)  # (joints, units and friction alone)
    *unexplained, by_friction = errors.mean(0).tolist()
    is_determined = errors[:, UNITS.index(CURRENT)] < DETERMINED * errors[:, -1]
    return EffortFit(
        dict(zip(UNITS, unexplained, strict=True)), by_friction, np.array(factors), is_determined
    )


def _residuals(
    effort: Array, q: Array, torque: Array, gravity: Array, friction: Array
) -> tuple[list[Array], float]:
    """Return the residuals (T,) of one joint in UNITS and by friction alone, and its factor.

    Args:
        effort: (T,) recorded.
        q: (T,) position [rad].
        torque: (T,) of the URDF, gravity included [N m].
        gravity: (T,) torque of gravity [N m].
        friction: (T, 4) terms of friction.
    """
    as_current, solution = _residual(np.column_stack([torque, friction]), effort)
    fits = (effort - torque, effort - torque + gravity)
    as_torque = [_residual(friction, values)[0] for values in fits]
    by_friction = _residual(friction, effort)[0]
    return [*as_torque, as_current, effort - q, by_friction], float(solution[0])


def effort_line(fit: EffortFit) -> str:
    """Return in one line how well a URDF explains an effort in each unit."""
    explained = {unit: max(1 - fit.unexplained[unit], 0.0) for unit in UNITS[:3]}
    words = ", ".join(f"{100 * fraction:.0f}% as {name}" for name, fraction in explained.items())
    words += f" (with {fit.factor:.2g} A per N m)"
    if fit.is_negated:
        return f"effort: the URDF explains its negative: {words}"
    if fit.likeliest() is None:
        return f"effort: the URDF explains it in no unit, so that its unit is unchecked: {words}"
    return f"effort: URDF and friction explain {words}"


def unit_warning(robot: Robot, trajectories: Sequence[Trajectory], unit: str) -> str | None:
    """Return a warning if the URDF contradicts the unit of a dataset, else None.

    Args:
        robot: the arm.
        trajectories: of the dataset, with accelerations.
        unit: of its actions.
    """
    known = [t for t in trajectories if len(t.action) and len(t.acceleration)]
    if unit not in UNITS or not known:
        return None
    fit = fit_effort(robot, known)
    likeliest = fit.likeliest()
    if likeliest is None or not fit.contradicts(unit):
        return None
    stated, likely = (f"{100 * max(1 - fit.unexplained[u], 0.0):.0f}%" for u in (unit, likeliest))
    return (
        f"the actions are stated in {unit!r}, but {likeliest!r} is likelier: URDF and friction "
        f"explain {stated} as {unit} and {likely} as {likeliest}, with {fit.factor:.2g} A per N m "
        f"(a geared motor has less than {MAX_CURRENT_PER_TORQUE}); collect the data again with "
        "the unit that the robot reports"
    )


def _residual(columns: Array, values: Array) -> tuple[Array, Array]:
    """Return the residual (T,) of a least-squares fit of columns (T, K), and its solution (K,)."""
    solution = np.asarray(np.linalg.lstsq(columns, values, rcond=None)[0], float)
    return values - columns @ solution, solution

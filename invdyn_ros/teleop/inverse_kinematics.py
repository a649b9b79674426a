"""Inverse kinematics: wanted places of links enter, joint positions within limits leave."""

from __future__ import annotations

from typing import NamedTuple

import mink
import mujoco
import numpy as np

from invdyn_ros.robots.robot import Robot


class HumanLikeArm(NamedTuple):
    """The links of a seven-joint arm whose origins are its shoulder, elbow and wrist."""

    shoulder: str
    elbow: str
    wrist: str
    upper_arm: float  # [m] shoulder to elbow
    forearm: float  # [m] elbow to wrist


def human_like_arm(robot: Robot) -> HumanLikeArm | None:
    """Find the human-like limbs of an arm: shoulder, elbow and wrist a fixed distance apart.

    Returns:
        The links of joints 2, 4 and 6 of a seven-joint arm; None for an arm not built like that.
    """
    if robot.n != 7:
        return None
    model = robot.model()
    links = [model.body(model.jnt_bodyid[i]).name for i in (1, 3, 5)]
    rng = np.random.default_rng(0)
    poses = [robot.home, *rng.uniform(robot.lower, robot.upper, (8, robot.n))]
    points = np.array(
        [[robot.forward_kinematics(q, link)[:3, 3] for link in links] for q in poses]
    )
    lengths = np.linalg.norm(np.diff(points, axis=1), axis=2)  # (9, 2)
    rigid = np.ptp(lengths, axis=0).max() < 1e-6 and np.ptp(points[:, 0], axis=0).max() < 1e-6
    return HumanLikeArm(*links, *lengths[0]) if rigid and lengths.min() > 0.05 else None


def alternative_configurations(robot: Robot, q: np.ndarray) -> list[np.ndarray]:
    """List the other postures q (7,) [rad] of a human-like arm with the same limb directions.

    Shoulder and elbow each have two: turned half around, bent the other way. Postures outside the
    limits are left out.
    """
    turns = {"shoulder": (0, 1, 2), "elbow": (2, 3, 4)}
    found = []
    for axes in (("shoulder",), ("elbow",), ("shoulder", "elbow")):
        other = np.array(q, dtype=float)
        for first, bend, second in (turns[axis] for axis in axes):
            other[bend] = -other[bend]
            for joint in (first, second):
                other[joint] -= np.copysign(np.pi, other[joint])
        if ((other >= robot.lower) & (other <= robot.upper)).all():
            found.append(other)
    return found


def measure_reach(robot: Robot, link: str) -> tuple[np.ndarray, float]:
    """Measure how far a link gets from the shoulder, the origin of joint 2.

    Returns:
        The shoulder (3,) [m] in the base frame at home, and the distance [m] that only one in a
        hundred of random postures exceeds.
    """
    model = robot.model()
    shoulder = robot.forward_kinematics(
        robot.home, model.body(model.jnt_bodyid[min(1, robot.n - 1)]).name
    )
    rng = np.random.default_rng(0)
    poses = rng.uniform(robot.lower, robot.upper, (2000, robot.n))
    tips = np.array([robot.forward_kinematics(q, link)[:3, 3] for q in poses])
    return shoulder[:3, 3], float(
        np.percentile(np.linalg.norm(tips - shoulder[:3, 3], axis=1), 99)
    )


class PositionTask(mink.Task):
    """Bring the origin of a link to a point: error p(q) - target [m], its Jacobian (3, n)."""

    def __init__(self, model: mujoco.MjModel, link: str) -> None:
        """Make a task for a link of the model; set `target` (3,) [m] before solving."""
        super().__init__(cost=np.ones(3))
        self.body = model.body(link).id
        self.target = np.zeros(3)
        self._jacobian = np.zeros((3, model.nv))

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """Return how far the point is from its target (3,) [m]."""
        return configuration.data.xpos[self.body] - self.target

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the derivative of the error (3, n) [m/rad]."""
        data = configuration.data
        mujoco.mj_jac(
            configuration.model, data, self._jacobian, None, data.xpos[self.body], self.body
        )
        return self._jacobian


class JointBoxLimit(mink.Limit):
    """Keep joints between two bounds (n,) [rad], and a step where its linear model holds."""

    STEP = 0.5
    """Largest step of a joint [rad]."""

    def __init__(self, lower: np.ndarray, upper: np.ndarray) -> None:
        """Make the limit lower <= q <= upper."""
        self.lower, self.upper = lower, upper
        self._sides = np.vstack([np.eye(lower.size), -np.eye(lower.size)])  # (2n, n)

    def compute_qp_inequalities(
        self, configuration: mink.Configuration, dt: float
    ) -> mink.Constraint:
        """Return the bounds on the next step."""
        q = configuration.q
        room = np.concatenate([self.upper - q, q - self.lower])  # (2n,)
        return mink.Constraint(self._sides, np.minimum(room, self.STEP))


class IKSolution(NamedTuple):
    """What the solver found."""

    q: np.ndarray  # (n,) [rad]
    residual: float  # [m] largest distance of a point from its target


class PositionIKSolver:
    """Bring several links of an arm to wanted points by differential inverse kinematics (mink).

    Each step is a quadratic program: the squared distances, a weak pull towards a posture that
    settles the joints the points leave free, and damping, subject to the joint limits.
    """

    POSTURE = 0.005
    """Cost of one radian off the posture, as a distance over the arm's size."""
    DAMPING = 1e-3
    """Cost of a squared step of one radian, as a squared distance over the squared arm's size."""
    PRECISION = 5e-4
    """Residual at which iteration stops [m]; far below what is asked of the arm."""

    def __init__(self, robot: Robot, links: tuple[str, ...], size: float, margin: float) -> None:
        """Make a solver for links of a robot.

        Args:
            robot: the arm.
            links: links whose origins have targets.
            size: length scale of the arm [m], such as its reach.
            margin: distance kept from each joint limit [rad].
        """
        model = robot.model()
        self.lower, self.upper = robot.lower + margin, robot.upper - margin
        self._configuration = mink.Configuration(model)
        self._points = [PositionTask(model, link) for link in links]
        self._posture = mink.PostureTask(model, cost=self.POSTURE * size)
        self._posture.set_target(np.clip(robot.home, self.lower, self.upper))
        self._damping = self.DAMPING * size**2

    def solve(
        self,
        targets: np.ndarray,
        q: np.ndarray,
        iterations: int,
        window: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> IKSolution:
        """Bring the links as close to their targets as joint limits allow.

        Args:
            targets: (k, 3) [m] in the base frame.
            q: (n,) [rad] to start from.
            iterations: most steps to take.
            window: narrower bounds of the joints, (n,) each [rad].
        """
        for task, target in zip(self._points, targets, strict=True):
            task.target = target
        lower, upper = window or (self.lower, self.upper)
        limits = [JointBoxLimit(lower, upper)]
        configuration = self._configuration
        configuration.update(np.clip(q, lower, upper))
        residual = self._residual()
        for _ in range(iterations):
            step = mink.solve_ik(
                configuration,
                [*self._points, self._posture],
                dt=1.0,
                solver="daqp",
                damping=self._damping,
                limits=limits,
            )
            configuration.update(np.clip(configuration.q + step, lower, upper))
            before, residual = residual, self._residual()
            if residual < self.PRECISION or 0 <= before - residual < 0.05 * residual:
                break
        return IKSolution(configuration.q.copy(), residual)

    def _residual(self) -> float:
        return max(
            float(np.linalg.norm(t.compute_error(self._configuration))) for t in self._points
        )

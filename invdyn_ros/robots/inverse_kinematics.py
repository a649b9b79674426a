"""Differential inverse kinematics of a robot within its joint limits (mink)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.ik_tasks import JointBoxLimit, PositionTask, StandstillLimit, mink
from invdyn_ros.robots.robot import Robot

SOLVER = "daqp"
TOLERANCES = 1e-6, 1e-5  # [m, rad] of the bounds; rounding can defeat the solver at the first


class DifferentialIK:
    """Base class of inverse-kinematics solvers: tasks, a weak posture task and joint limits.

    Each step solves a quadratic program: it minimises the squared task errors, a weak posture
    error, which determines the joints that the tasks leave free, and damping, subject to the
    joint limits.
    """

    def __init__(
        self, robot: Robot, tasks: Sequence[mink.Task], posture_cost: float, margin: float
    ) -> None:
        """Create the problem.

        Args:
            robot: the arm.
            tasks: tasks whose errors each step reduces.
            posture_cost: cost of a posture error of one radian, in the unit of the tasks' costs.
            margin: distance kept from each joint limit [rad].
        """
        self.robot, self.tasks = robot, tasks
        self.lower, self.upper = robot.lower + margin, robot.upper - margin
        self.configuration = mink.Configuration(robot.model())
        self.posture = mink.PostureTask(robot.model(), cost=posture_cost)

    def compute_step(
        self,
        limits: Sequence[mink.Limit],
        damping: float = 1e-12,
        tasks: Sequence[mink.Task] | None = None,
    ) -> np.ndarray:
        """Return the joint step (n,) [rad] that solves the quadratic program.

        It is zero, which every limit allows, if the solver fails.

        Args:
            limits: joint limits to respect.
            damping: cost of a squared step of one radian.
            tasks: tasks whose errors the step reduces; None: all and the posture.
        """
        tasks = [*self.tasks, self.posture] if tasks is None else list(tasks)
        solve = partial(mink.solve_ik, self.configuration, tasks, 1.0, SOLVER, damping)
        for tolerance in TOLERANCES:
            with suppress(mink.NoSolutionFound):
                return solve(limits=list(limits), primal_tol=tolerance)
        return np.zeros(self.robot.n)


class PoseIKSolver(DifferentialIK):
    """Inverse kinematics of a pose of the tool centre point."""

    TOLERANCE = 1e-3
    """Largest error of a solution along or about any axis [m], [rad]."""
    CONVERGENCE_TOLERANCE = 1e-7
    """Error at which the iteration stops [m], [rad]."""
    MAX_STEP = 0.3
    """Largest step of a joint [rad]."""
    STALL_CHECK_PERIOD = 10
    """Number of iterations within which the error must decrease by 5%."""

    def __init__(self, robot: Robot, margin: float = 0.05) -> None:
        """Create a solver that keeps a margin [rad] from each joint limit."""
        self.task = mink.FrameTask(
            robot.tip_link, "body", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6
        )
        super().__init__(robot, [self.task], posture_cost=1e-5, margin=margin)
        self.posture.set_target(robot.home)
        self.limits = [mink.ConfigurationLimit(robot.model(), min_distance_from_limits=margin)]

    def solve(
        self, T_base_tool: np.ndarray, q: np.ndarray, max_iterations: int = 60
    ) -> np.ndarray | None:
        """Return joint positions (n,) [rad] that reach a pose, None if the solver fails.

        Args:
            T_base_tool: (4, 4) desired pose of the tool.
            q: (n,) initial joint positions [rad].
            max_iterations: number of steps to take at most.
        """
        self.configuration.update(np.clip(q, self.lower, self.upper))
        self.task.set_target(mink.SE3.from_matrix(T_base_tool))
        previous = np.inf
        for iteration in range(max_iterations):
            error = self._error()
            if error < self.CONVERGENCE_TOLERANCE:
                break
            if iteration % self.STALL_CHECK_PERIOD == self.STALL_CHECK_PERIOD - 1:
                if error > self.TOLERANCE and error > 0.95 * previous:
                    return None  # a local minimum
                previous = error
            step = self.compute_step(self.limits)
            longest = max(np.abs(step).max(), 1e-12)
            self.configuration.integrate_inplace(step * min(1.0, self.MAX_STEP / longest), 1.0)
        return self.configuration.q.copy() if self._error() <= self.TOLERANCE else None

    def _error(self) -> float:
        return float(np.abs(self.task.compute_error(self.configuration)).max())


class IKSolution(NamedTuple):
    """Result of `PositionIKSolver.solve`."""

    q: np.ndarray  # (n,) [rad]
    residual: float  # [m] largest distance of a link from its target


class PositionIKSolver(DifferentialIK):
    """Inverse kinematics of the positions of several links, which need not be reachable."""

    POSTURE_COST = 0.005
    """Cost of a posture error of one radian, as a fraction of the arm's size."""
    DAMPING = 1e-3
    """Cost of a squared step of one radian, as a fraction of the squared size of the arm."""
    CONVERGENCE_TOLERANCE = 5e-4
    """Residual at which iteration stops [m]; far below the accuracy required of the arm."""
    MIN_IMPROVEMENT = 0.05
    """Iteration stops once a step reduces the residual by a smaller fraction."""

    def __init__(
        self,
        robot: Robot,
        links: tuple[str, ...],
        size: float,
        margin: float,
        limits: Sequence[mink.Limit] = (),
        secondary: Sequence[mink.Task] = (),
    ) -> None:
        """Create a solver for links of a robot.

        Args:
            robot: the arm.
            links: links whose origins have targets.
            size: length scale of the arm [m], such as its reach.
            margin: distance kept from each joint limit [rad].
            limits: further limits of each step.
            secondary: tasks of lower cost, whose errors are no part of the residual.
        """
        self.limits = tuple(limits)
        self.points = [PositionTask(robot.model(), link) for link in links]
        tasks = [*self.points, *secondary]
        super().__init__(robot, tasks, self.POSTURE_COST * size, margin)
        self.posture.set_target(np.clip(robot.home, self.lower, self.upper))
        self.damping = self.DAMPING * size**2
        self.home_posture = mink.PostureTask(robot.model(), cost=self.POSTURE_COST * size)
        self.home_posture.set_target(np.clip(robot.home, self.lower, self.upper))

    def solve(
        self,
        targets: np.ndarray,
        q: np.ndarray,
        max_iterations: int,
        bounds: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> IKSolution:
        """Bring the links as close to their targets as the joint limits allow.

        Args:
            targets: (k, 3) [m] in the base frame.
            q: (n,) initial joint positions [rad].
            max_iterations: number of steps to take at most.
            bounds: narrower lower and upper bounds of the joints, (n,) each [rad].
        """
        lower, upper = bounds or (self.lower, self.upper)
        limits = [JointBoxLimit(lower, upper), *self.limits]
        self._set(targets, np.clip(q, lower, upper))
        residual = self._residual()
        for _ in range(max_iterations):
            step = self.compute_step(limits, self.damping)
            self.configuration.update(np.clip(self.configuration.q + step, lower, upper))
            previous, residual = residual, self._residual()
            improvement = previous - residual
            if (
                residual < self.CONVERGENCE_TOLERANCE
                or 0 <= improvement < self.MIN_IMPROVEMENT * residual
            ):
                break
        return IKSolution(self.configuration.q.copy(), residual)

    def turn(
        self, task: mink.Task, q: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Return joint positions (n,) nearer to a task, with the links where they are at q (n,).

        Args:
            task: what the joints do that the links leave free, beside the posture at home.
            q: (n,) joint positions within the bounds [rad].
            bounds: lower and upper bounds of the joints, (n,) each [rad].
        """
        self.configuration.update(q)
        limits = [JointBoxLimit(*bounds), StandstillLimit(self.points), *self.limits]
        step = self.compute_step(limits, self.damping, [task, self.home_posture])
        return np.clip(q + step, *bounds)

    def distance(self, targets: np.ndarray, q: np.ndarray) -> float:
        """Return the largest distance of a link from its target (k, 3) at q (n,) [m]."""
        self._set(targets, q)
        return self._residual()

    def positions(self, q: np.ndarray) -> np.ndarray:
        """Return the positions (k, 3) of the links at q (n,) [m]."""
        self.configuration.update(q)
        return np.array([self.configuration.data.xpos[task.body_id] for task in self.points])

    def descent(self, targets: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Return the direction (n,) of steepest descent of the distances at q (n,)."""
        self._set(targets, q)
        return -sum(
            task.compute_jacobian(self.configuration).T @ task.compute_error(self.configuration)
            for task in self.points
        )

    def _set(self, targets: np.ndarray, q: np.ndarray) -> None:
        for task, target in zip(self.points, targets, strict=True):
            task.target = target
        self.configuration.update(q)

    def _residual(self) -> float:
        return max(
            float(np.linalg.norm(task.compute_error(self.configuration))) for task in self.points
        )

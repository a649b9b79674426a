"""Motion of an arm whose links track moving targets, within its limits and clear of obstacles."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.collision_geometry import TABLE, load_shapes
from invdyn_ros.robots.inverse_kinematics import IKSolution, PositionIKSolver
from invdyn_ros.teleop.arm_geometry import alternative_configurations, human_like_arm
from invdyn_ros.teleop.filters import RateLimiter

OUT_OF_REACH, NEAR_TABLE, NEAR_OBSTACLE, NEAR_ITSELF = OBSTRUCTIONS = (
    "out of reach",
    "near the table",
    "near an obstacle",
    "near itself",
)


class TargetTracker:
    """Track targets of links with limited joint velocities and accelerations.

    The arm can always stop clear of obstacles and of itself: a state from which it cannot is
    replaced by one that slides along what is near, or by braking.
    """

    ITERATIONS = 8
    """IK steps per call; two or three suffice in steady motion."""
    NEAR = 0.004
    """Clearance at which something is near, and stops the arm on its way to a target [m]."""

    def __init__(
        self,
        solver: PositionIKSolver,
        limiter: RateLimiter,
        collision: CollisionModel,
        tolerance: float,
    ) -> None:
        """Create a tracker at the state of the limiter.

        Args:
            solver: inverse kinematics of the links.
            limiter: state of the arm.
            collision: clearances of the arm.
            tolerance: distance of a link from its target below which it counts as reached [m].
        """
        self.solver, self.limiter, self.collision = solver, limiter, collision
        self.tolerance = tolerance
        self.robot = collision.robot
        self._human_like = human_like_arm(self.robot) is not None
        self._links = {shape.link for shape in load_shapes(self.robot)}
        self.reset(limiter.q)

    def reset(self, q: np.ndarray) -> None:
        """Start at rest at q (n,) [rad]."""
        self.limiter.reset(q)
        self._num_restarts = 0

    def follow(
        self,
        targets: np.ndarray,
        dt: float,
        speed: float = 1.0,
        region: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> str | None:
        """Move for `dt` towards targets.

        Args:
            targets: (k, 3) targets of the links in the base frame [m].
            dt: time step [s].
            speed: fraction of the velocity limits to use.
            region: lower and upper bounds (n,) of the joint positions, which may move [rad].

        Returns:
            Why no configuration reaches the targets, None if one does.
        """
        self._floor = min(self.collision.clearance(self.limiter.q).distance, 0.0)
        solution, continuous = self._solve(targets)
        if dt > 0:
            bounds = self.limiter.reachable_bounds(solution.q, dt, speed, region)
            self._move(targets, solution.q, continuous, dt, bounds)
        return None if solution.residual <= self.tolerance else self._obstruction(solution.q)

    def brake(self, dt: float) -> None:
        """Brake for `dt` [s]."""
        self.limiter.brake(dt)

    def distance(self, targets: np.ndarray) -> float:
        """Return the largest distance of a link from its target (k, 3) at the state [m]."""
        return self.solver.distance(targets, self.limiter.q)

    def _solve(self, targets: np.ndarray) -> tuple[IKSolution, bool]:
        """Solve from the current configuration, the last solution, or an alternative one.

        Returns:
            The solution, and whether it is connected to the current configuration.
        """
        current, last = self.limiter.q, self.limiter.target
        solution, continuous = self._solve_from(current, targets), True
        if solution.residual <= self.tolerance:
            return solution, True
        if not np.array_equal(current, last):
            continued = self._solve_from(last, targets)
            if continued.residual < solution.residual:
                solution, continuous = continued, False
        if solution.residual <= self.tolerance:
            return solution, continuous
        starts = [
            self.robot.home,
            *(alternative_configurations(self.robot, current) if self._human_like else ()),
        ]
        # one for every other image, to limit computing time
        start, first = divmod(self._num_restarts, 2)
        self._num_restarts += 1
        if not first:
            return solution, continuous
        start = starts[(self._num_restarts // 2) % len(starts)]
        other = self._solve_from(start, targets)
        reached = other.residual <= self.tolerance
        return (other, False) if reached else (solution, continuous)

    def _solve_from(self, q: np.ndarray, targets: np.ndarray) -> IKSolution:
        """Return a solution found from q (n,); that is infinitely far if it is not clear."""
        solution = self.solver.solve(targets, q, self.ITERATIONS)
        if self._clear(solution.q):
            return solution
        if q is self.limiter.q:
            return IKSolution(q, self.solver.distance(targets, q))
        return solution._replace(residual=np.inf)

    def _move(
        self,
        targets: np.ndarray,
        goal: np.ndarray,
        continuous: bool,
        dt: float,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Move towards joint positions; if a joint is too slow, the others compensate.

        Args:
            targets: (k, 3) targets of the links [m].
            goal: (n,) joint positions that reach them [rad].
            continuous: whether the goal is connected to the current configuration.
            dt: time step [s].
            bounds: lower and upper bounds (n,) of the next positions [rad].
        """
        limiter = self.limiter
        q = np.clip(goal, *bounds)
        clear = self._can_stop(q, dt)
        if not clear or (continuous and not np.array_equal(q, goal)):
            start = q if clear else np.clip(limiter.q, *bounds)
            nearest = self.solver.solve(targets, start, self.ITERATIONS // 4, bounds)
            if self._can_stop(nearest.q, dt):
                q, clear = nearest.q, True
                if nearest.residual < self.solver.CONVERGENCE_TOLERANCE:
                    goal = q  # another configuration that reaches the targets
        if clear:
            limiter.move(q, goal, dt)
        else:
            limiter.brake(dt)

    def _can_stop(self, q: np.ndarray, dt: float) -> bool:
        """Return whether the arm is clear at q (n,), reached in `dt` [s], and can stop clear."""
        positions = list(self.limiter.braking_positions(q, (q - self.limiter.q) / dt, dt))
        clearances = self.collision.clearances(q)  # (P,)
        if clearances.min() < self._floor:
            return False
        travel = np.abs(np.diff([q, *positions], axis=0)).sum(axis=0)  # (n,) while braking
        if (clearances - self.collision.radii @ travel >= self._floor).all():
            return True
        return all(self._clear(position) for position in positions)

    def _obstruction(self, q: np.ndarray) -> str:
        """Return what keeps the arm from going further than q (n,)."""
        distance, pair = self.collision.clearance(q)
        if distance > self.NEAR:
            return OUT_OF_REACH
        if TABLE in pair:
            return NEAR_TABLE
        return NEAR_ITSELF if self._links >= set(pair) else NEAR_OBSTACLE

    def _clear(self, q: np.ndarray) -> bool:
        """Return whether the arm is clear at q (n,), or not closer than it is now."""
        return self.collision.clearance(q).distance >= self._floor

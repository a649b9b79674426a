"""Motion of an arm whose links track moving targets, within its limits and clear of obstacles."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.collision_geometry import TABLE, load_shapes
from invdyn_ros.robots.inverse_kinematics import IKSolution, PositionIKSolver
from invdyn_ros.teleop.arm_geometry import alternative_configurations, human_like_arm
from invdyn_ros.teleop.filters import RateLimiter
from invdyn_ros.teleop.joint_speeds import JointSpeeds
from invdyn_ros.teleop.swivel import ElbowFollower

OUT_OF_REACH, NEAR_TABLE, NEAR_OBSTACLE, NEAR_ITSELF = OBSTRUCTIONS = (
    "out of reach",
    "near the table",
    "near an obstacle",
    "near itself",
)


class TargetTracker:
    """Track targets of links with limited joint velocities and accelerations, slowly at first.

    The arm can always stop clear of obstacles and of itself: a state from which it cannot is
    replaced by one that slides along what is near, or by braking.
    """

    ITERATIONS = 8
    """IK steps per call; two or three suffice in steady motion."""
    SLOW_IN_TIME = 1.0
    """Time in which the speed increases after a hold, as its square [s]."""
    SLOW_OUT_TIME = 0.3
    """Length of a hold after which the speed increases from its minimum again [s]."""
    MIN_SPEED = 0.05
    """Fraction of the velocity limits right after a hold."""
    MAX_LEAD = 0.5
    """Largest distance of a joint from where it is measured [rad]: an arm that is slower, stopped
    or moved by hand is waited for."""
    MAX_DRIFT = 0.05
    """Distance from a measured joint that is kept while holding [rad]."""
    MAX_REST_STEP = 0.01
    """Largest motion of a joint at rest between two images [rad]."""
    BLOCKED_STEP, BLOCKED_IMAGES = 0.002, 4
    """Likewise of an arm that is blocked, and for how many images it is, while the state moves
    away from it: the motion guard then refuses the way to the state."""
    SPEED_FRACTION = 0.8
    """Fraction of the tool's speed limit with which targets move, so that the plan keeps up."""
    NEAR = 0.004
    """Clearance at which something counts as near [m]."""

    def __init__(
        self,
        solver: PositionIKSolver,
        limiter: RateLimiter,
        collision: CollisionModel,
        tolerance: float,
        tool_speed: float = np.inf,
        elbow: ElbowFollower | None = None,
    ) -> None:
        """Create a tracker at the state of the limiter.

        Args:
            solver: inverse kinematics of the links.
            limiter: state of the arm.
            collision: clearances of the arm.
            tolerance: distance of a link from its target below which it counts as reached [m].
            tool_speed: largest speed of the tool, which the motion guard allows [m/s].
            elbow: turns the elbow to where it is to be; None: the posture determines it.
        """
        self.solver, self.limiter, self.collision = solver, limiter, collision
        self.tolerance, self._target_speed = tolerance, self.SPEED_FRACTION * tool_speed
        self.robot, self.elbow = collision.robot, elbow
        self._joint_speeds = JointSpeeds(self.robot)
        self._human_like = human_like_arm(self.robot) is not None
        self._links = {shape.link for shape in load_shapes(self.robot)}
        self.reset(limiter.q)

    def reset(self, q: np.ndarray) -> None:
        """Start at rest at q (n,) [rad]."""
        self.limiter.reset(q)
        self._num_failures = 0  # to reach the targets from the state, in a row
        self._slow_in = 0.0  # progress, 0..1
        self._closest = 0  # index of the pair that was last found too close
        self._measured: np.ndarray | None = None
        self._aims: np.ndarray | None = None  # (k, 3) targets of limited speed [m]
        self._num_blocked = 0  # images in a row in which the arm did not move to the state

    def is_elsewhere(self, measured: np.ndarray | None) -> bool:
        """Note where the arm is, and return whether that is far from the state.

        Args:
            measured: (n,) measured joint positions [rad]; None: the arm follows exactly.
        """
        self._last_measured, self._measured = self._measured, measured
        is_away = measured is not None and self._lead(measured) > self.MAX_DRIFT
        is_blocked = is_away and self._max_step() < self.BLOCKED_STEP
        self._num_blocked = self._num_blocked + 1 if is_blocked else 0
        return measured is not None and self._lead(measured) > 1.5 * self.MAX_LEAD

    def hold(self, dt: float) -> None:
        """Brake for `dt` [s]; at rest, return to the arm if that rests elsewhere."""
        self.limiter.brake(dt)
        self._aims = None
        self._slow_in = max(self._slow_in - dt / self.SLOW_OUT_TIME, 0.0)
        measured = self._measured
        if measured is None or self.limiter.qd.any():
            return
        if self._max_step() < self.MAX_REST_STEP and self._lead(measured) > self.MAX_DRIFT:
            self.reset(measured)

    def _max_step(self) -> float:
        """Return the largest motion of a joint since the last image [rad]; inf if not known."""
        if self._measured is None or self._last_measured is None:
            return np.inf
        return float(np.abs(self._measured - self._last_measured).max())

    def _lead(self, measured: np.ndarray) -> float:
        """Return the largest distance of a joint from where it is measured [rad]."""
        return float(np.abs(measured - self.limiter.q).max())

    def follow(self, targets: np.ndarray, dt: float) -> str | None:
        """Move for `dt` towards targets.

        Args:
            targets: (k, 3) targets of the links in the base frame [m].
            dt: time step [s].

        Returns:
            Why the arm cannot reach the targets, None if it can.
        """
        if self._num_blocked >= self.BLOCKED_IMAGES and self._measured is not None:
            self.reset(self._measured)
        self._slow_in = min(self._slow_in + dt / self.SLOW_IN_TIME, 1.0)
        # an arm that is too close to something may not get closer to it
        self._required = np.minimum(self.collision.clearances(self.limiter.q), 0.0)  # (P,) [m]
        targets = self._limit_speed(targets, dt)
        if self.elbow is not None:
            self.solver.posture.set_target(self.limiter.q)  # else home turns the elbow back
        solution, continuous = self._solve(targets)
        if self.elbow is not None and solution.residual <= self.tolerance:
            turned = self.elbow.turn(self.solver, targets, solution, self.limiter, dt)
            solution = turned if self._clear(turned.q) else solution
        if dt > 0:
            bounds = self._bounds(solution.q, dt)
            if not self._move(targets, solution.q, continuous, dt, bounds):
                return self._describe(self._closest)
        if solution.residual <= self.tolerance:
            return None
        pairs, clearances, gradients = self.collision.gradients(solution.q)
        approach = np.where(
            clearances < self.NEAR, -gradients @ self.solver.descent(targets, solution.q), 0.0
        )
        if approach.max(initial=0.0) <= 0:
            return OUT_OF_REACH
        return self._describe(int(pairs[approach.argmax()]))

    def _limit_speed(self, targets: np.ndarray, dt: float) -> np.ndarray:
        """Return targets (k, 3) on the way to others (k, 3) that move as fast as the tool may."""
        if np.isinf(self._target_speed):
            return targets
        aims = self.solver.positions(self.limiter.q) if self._aims is None else self._aims
        way = targets - aims
        length = float(np.linalg.norm(way, axis=1).max())
        if length <= self._target_speed * dt:
            self._aims = targets
            return targets
        self._aims = aims + way * (self._target_speed * dt / length)
        return self._aims

    def distance(self, targets: np.ndarray) -> float:
        """Return the largest distance of a link from its target (k, 3) at the state [m]."""
        return self.solver.distance(targets, self.limiter.q)

    def _solve(self, targets: np.ndarray) -> tuple[IKSolution, bool]:
        """Solve from the current configuration, the last solution, or an alternative one.

        Returns:
            The solution, and whether it is connected to the current configuration.
        """
        current, last = self.limiter.q, self.limiter.target
        # after a failure the next attempts are short, to limit computing time
        iterations = self.ITERATIONS if self._num_failures == 0 else self.ITERATIONS // 2
        solution, continuous = self._solve_from(current, targets, iterations), True
        if solution.residual <= self.tolerance:
            self._num_failures = 0
            return solution, True
        if not np.array_equal(current, last):
            continued = self._solve_from(last, targets, iterations)
            if np.isfinite(continued.residual):  # goals must not alternate
                solution, continuous = continued, False
        if solution.residual <= self.tolerance:
            return solution, continuous
        starts = [
            self.robot.home,
            *(alternative_configurations(self.robot, current) if self._human_like else ()),
        ]
        self._num_failures += 1
        attempt, second = divmod(self._num_failures, 2)
        if second:
            return solution, continuous
        other = self._solve_from(starts[attempt % len(starts)], targets, self.ITERATIONS)
        reached = other.residual <= self.tolerance
        return (other, False) if reached else (solution, continuous)

    def _solve_from(self, q: np.ndarray, targets: np.ndarray, iterations: int) -> IKSolution:
        """Return a solution found from q (n,); that is infinitely far if it is not clear."""
        solution = self.solver.solve(targets, q, iterations)
        if self._clear(solution.q):
            return solution
        if q is self.limiter.q:
            return IKSolution(q, self.solver.distance(targets, q))
        return solution._replace(residual=np.inf)

    def _bounds(self, goal: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (n,) of the next joint positions on the way to a goal (n,) [rad]."""
        region = None
        if self._measured is not None:
            region = (self._measured - self.MAX_LEAD, self._measured + self.MAX_LEAD)
        speed = max(self._slow_in**2, self.MIN_SPEED)
        return self.limiter.reachable_bounds(goal, dt, speed, region)

    def _move(
        self,
        targets: np.ndarray,
        goal: np.ndarray,
        continuous: bool,
        dt: float,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> bool:
        """Move towards joint positions; if a joint is too slow, the others compensate.

        Args:
            targets: (k, 3) targets of the links [m].
            goal: (n,) joint positions that reach them [rad].
            continuous: whether the goal is connected to the current configuration.
            dt: time step [s].
            bounds: lower and upper bounds (n,) of the next positions [rad].

        Returns:
            Whether nothing is in the way; if something is, the arm brakes.
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
        slowed = self._joint_speeds.limit(q, limiter, self._target_speed, dt)
        if clear and slowed is not q:
            q, clear = slowed, self._can_stop(slowed, dt)
        if clear:
            limiter.move(q, goal, dt)
        else:
            limiter.brake(dt)
        return clear

    def _can_stop(self, q: np.ndarray, dt: float) -> bool:
        """Return whether the arm is clear at q (n,), reached in `dt` [s], and can stop clear."""
        positions = list(self.limiter.braking_positions(q, (q - self.limiter.q) / dt, dt))
        if not self._clear(q):
            return False
        travel = np.abs(np.diff([q, *positions], axis=0)).sum(axis=0)  # (n,) while braking
        if self._spare.min() >= (self.collision.largest_radii @ travel).max():
            return True
        return all(self._clear(position) for position in positions)

    def _clear(self, q: np.ndarray) -> bool:
        """Return whether the arm is clear at q (n,), or not closer than it is now."""
        self._spare = self.collision.clearances(q) - self._required  # (P,) [m]
        if self._spare.min(initial=0.0) >= 0:
            return True
        self._closest = int(self._spare.argmin())
        return False

    def _describe(self, index: int) -> str:
        """Return what the arm is near, from the index of a pair."""
        pair = self.collision.pairs[index]
        if TABLE in pair:
            return NEAR_TABLE
        return NEAR_ITSELF if self._links >= set(pair) else NEAR_OBSTACLE

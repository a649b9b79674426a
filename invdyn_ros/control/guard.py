"""The one guard: every target and every command passes it.

Enters: a wanted state, the measured state, the time. Leaves: a plan that keeps the arm's limits, or
the reason why the arm holds. All functions are pure: same input, same output.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Trajectory

from invdyn_ros.robot import Robot

Array = NDArray[np.float64]


class State(NamedTuple):
    """A motion state: q (n,) [rad], qd (n,) [rad/s], qdd (n,) [rad/s2]."""

    q: Array
    qd: Array
    qdd: Array


class Target(NamedTuple):
    """A wanted state.

    Attributes:
        stamp: time of the source that asked for it (the image) [s].
        state: the wanted state.
        horizon: the state is wanted this long after the stamp [s]; zero means as soon as possible.
    """

    stamp: float
    state: State
    horizon: float


class Piece(NamedTuple):
    """A cubic from one state to the next over `duration` [s], then as the second state moves on."""

    first: State
    last: State
    duration: float

    def at(self, h: float) -> State:
        """Return the state `h` seconds after the start."""
        d = self.duration
        if h <= d and d > 0:
            start, end = _end_accelerations(self.first, self.last, d)
            jerk = (end - start) / d
            q0, v0, _ = self.first
            q = q0 + h * v0 + h * h * start / 2 + h**3 * jerk / 6
            return State(q, v0 + h * start + h * h * jerk / 2, start + h * jerk)
        q, qd, qdd = self.last
        speeding = min(h - d, d)  # the wanted acceleration holds for one more horizon
        coasting = h - d - speeding
        v = qd + speeding * qdd
        q = q + speeding * qd + speeding**2 * qdd / 2 + coasting * v
        return State(q, v, qdd if coasting <= 0 else np.zeros_like(qdd))


@dataclass(frozen=True)
class GuardConfig:
    """What the guard allows.

    Attributes:
        margin: distance kept from each position limit [rad].
        speed: share of the rated joint velocity that is used [-].
        jerk: jerk limit per acceleration limit [1/s].
        timeout: a target older than this halts the arm smoothly [s].
        jump: a measured step of this many times what the rated velocity allows is a fault [-].
    """

    margin: float = 0.02
    speed: float = 0.95
    jerk: float = 20.0
    timeout: float = 0.25
    jump: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1:
            raise ValueError(f"speed must be a share in (0, 1], got {self.speed}")
        if self.timeout <= 0 or self.margin < 0 or self.jerk <= 0 or self.jump <= 1:
            raise ValueError(f"timeout, jerk and jump - 1 must be positive, margin >= 0: {self}")


class Limits(NamedTuple):
    """Limits of motion and effort, (n,) each [rad, rad/s, rad/s2, rad/s3, N m]."""

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    effort: Array

    @classmethod
    def of(cls, robot: Robot, config: GuardConfig) -> "Limits":
        """Return the limits of an arm with the guard's margins applied."""
        return cls(
            robot.lower + config.margin,
            robot.upper - config.margin,
            robot.velocity * config.speed,
            robot.acceleration,
            robot.acceleration * config.jerk,
            robot.effort,
        )


class Plan(NamedTuple):
    """A motion within limits as a function of time, and the reason where it is a hold."""

    start: float
    motion: Trajectory | Piece
    held: str | None = None

    def at(self, time: float) -> State:
        """Return the planned state at a time [s]; before the start, the state at the start."""
        h = max(time - self.start, 0.0)
        if isinstance(self.motion, Piece):
            return self.motion.at(h)
        q, qd, qdd = self.motion.at_time(h)
        return State(np.array(q), np.array(qd), np.array(qdd))


def check_target(
    target: Target | None, n: int, time: float, config: GuardConfig
) -> str | None:
    """Return why a target must not be followed at a time [s], or None if it may."""
    if target is None:
        return "no target yet"
    if any(part.shape != (n,) for part in target.state):
        return f"target has {target.state.q.size} joints, the arm {n}"
    if not all(np.isfinite(part).all() for part in target.state) or not np.isfinite(target.stamp):
        return "target is not finite"
    if time - target.stamp > config.timeout:
        return "target is stale"
    if target.stamp - time > config.timeout:
        return "target is from the future"
    return None


def rest(q: Array, time: float, reason: str | None = None) -> Plan:
    """Return the plan that stays at `q` (n,) [rad]."""
    still = State(q, np.zeros_like(q), np.zeros_like(q))
    return Plan(time, Piece(still, still, 0.0), reason)


def halt(plan: Plan, time: float, limits: Limits, reason: str) -> Plan:
    """Return the plan that comes to rest as fast as the limits allow."""
    request = _request(plan.at(time), limits)
    request.control_interface = ControlInterface.Velocity
    request.target_velocity = [0.0] * limits.lower.size
    request.target_acceleration = [0.0] * limits.lower.size
    return Plan(time, _solve(request), reason)


def follow(
    plan: Plan, target: Target, time: float, limits: Limits, config: GuardConfig
) -> Plan:
    """Return the plan from where `plan` is at `time` to the target, within limits.

    A wanted next state that the arm can reach in its horizon is taken as it is; any other is
    approached as fast as position, velocity, acceleration and jerk limits allow (Ruckig; Berscheid
    and Kroeger 2021). A target that moves (horizon > 0) is met where it will be.
    """
    now = plan.at(time)
    wanted = _inside(target.state, limits, config)
    h = target.stamp + target.horizon - time
    if h > 1e-6 and _reachable(now, wanted, h, limits):
        return Plan(time, Piece(now, wanted, h))
    motion = _solve(_request(now, limits, wanted))
    if target.horizon > 0:
        for _ in range(2):
            ahead = np.clip(wanted.q + motion.duration * wanted.qd, limits.lower, limits.upper)
            motion = _solve(_request(now, limits, wanted._replace(q=ahead)))
    return Plan(time, motion)


def limit_action(
    action: Array, measured: Array, unit: str, limits: Limits
) -> tuple[Array, str | None]:
    """Return the action within the arm's limits, and why it was changed if it was.

    Args:
        action: (n,) torque [N m] or setpoint [rad].
        measured: (n,) measured position [rad].
        unit: unit of the action.
        limits: limits of the arm.

    Raises:
        ValueError: the action is not finite, or its unit has no limits.
    """
    if not np.isfinite(action).all():
        raise ValueError(f"the model's action is not finite: {action}")
    if unit == "N m":
        safe = np.clip(action, -limits.effort, limits.effort)
    elif unit == "rad":
        reach = 0.5 * limits.velocity  # half a second of travel: a servo never lags more
        safe = np.clip(action, measured - reach, measured + reach)
        safe = np.clip(safe, limits.lower, limits.upper)
    else:
        raise ValueError(f"no limits for actions in '{unit}'; known units: 'N m', 'rad'")
    return safe, None if np.array_equal(safe, action) else "action clipped to the arm's limits"


def _inside(state: State, limits: Limits, config: GuardConfig) -> State:
    """Clip a wanted state so that coasting for the timeout and braking stays inside."""
    q = np.clip(state.q, limits.lower, limits.upper)
    braking = limits.velocity / (2 * limits.acceleration) + limits.acceleration / limits.jerk
    time = config.timeout + braking
    fastest = np.minimum(limits.velocity, (limits.upper - q) / time)
    slowest = np.maximum(-limits.velocity, (limits.lower - q) / time)
    qdd = np.clip(state.qdd, -limits.acceleration, limits.acceleration)
    return State(q, np.clip(state.qd, slowest, fastest), qdd)


def _end_accelerations(first: State, last: State, h: float) -> tuple[Array, Array]:
    """Return the accelerations at both ends of the cubic between two states (Hermite)."""
    slope = 6 * (last.q - first.q) / (h * h)
    start = slope - (4 * first.qd + 2 * last.qd) / h
    return start, (2 * first.qd + 4 * last.qd) / h - slope


def _reachable(now: State, wanted: State, h: float, limits: Limits) -> bool:
    ends = np.abs(np.stack(_end_accelerations(now, wanted, h)))
    middle = 1.5 * (wanted.q - now.q) / h - (now.qd + wanted.qd) / 4
    return bool(
        (ends <= limits.acceleration * (1 + 1e-6)).all()
        and (np.abs(np.stack([middle, wanted.qd])) <= limits.velocity * (1 + 1e-6)).all()
    )


def _request(now: State, limits: Limits, wanted: State | None = None) -> InputParameter:
    request = InputParameter(limits.lower.size)
    request.current_position = now.q.tolist()
    request.current_velocity = now.qd.tolist()
    request.current_acceleration = np.clip(
        now.qdd, -limits.acceleration, limits.acceleration
    ).tolist()
    request.max_velocity = limits.velocity.tolist()
    request.max_acceleration = limits.acceleration.tolist()
    request.max_jerk = limits.jerk.tolist()
    if wanted is not None:
        request.target_position = wanted.q.tolist()
        request.target_velocity = wanted.qd.tolist()
        request.target_acceleration = [0.0] * limits.lower.size
    return request


def _solve(request: InputParameter) -> Trajectory:
    motion = Trajectory(request.degrees_of_freedom)
    result = Ruckig(request.degrees_of_freedom).calculate(request, motion)
    if result not in (Result.Working, Result.Finished):
        raise ValueError(f"no motion within limits: {result} for {request}")
    return motion

"""The guard: whatever is wanted, the plan keeps the arm's limits and ends at rest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from invdyn_ros.control.guard import (
    GuardConfig,
    Limits,
    Plan,
    State,
    Target,
    check_target,
    follow,
    halt,
    limit_action,
    rest,
)
from invdyn_ros.robot import load_robot

CONFIG = GuardConfig()
Stream = Callable[[np.random.Generator, int, float, Limits], Target | None]
robot = cache(load_robot)


def limits_of(arm: str) -> Limits:
    return Limits.of(robot(arm), CONFIG)


def drive(plan: Plan, target: Target | None, time: float, limits: Limits) -> Plan:
    """One tick: follow what may be followed, halt for anything else."""
    problem = check_target(target, limits.lower.size, time, CONFIG)
    if problem is None and target is not None:
        return follow(plan, target, time, limits, CONFIG)
    if plan.held != problem:
        return halt(plan, time, limits, str(problem))
    return plan


def assert_safe(states: list[State], limits: Limits, slack: float = 2e-6) -> None:
    q, qd, qdd = (np.stack(part) for part in zip(*states, strict=True))
    assert (q >= limits.lower - slack).all() and (q <= limits.upper + slack).all()
    assert (np.abs(qd) <= limits.velocity * (1 + 1e-5)).all()
    assert (np.abs(qdd) <= limits.acceleration * (1 + 1e-5)).all()


def assert_safe_to_its_end(plan: Plan, limits: Limits) -> None:
    end = plan.start + sum(part.duration for part in plan.parts)
    assert_safe([plan.at(t) for t in np.linspace(plan.start, end, 60)], limits)
    assert np.abs(plan.at(end + 1e-9).qd).max() == 0
    np.testing.assert_allclose(plan.at(end - 1e-9).qd, 0, atol=1e-6)
    np.testing.assert_array_equal(plan.at(end + 100).q, plan.at(end + 1).q)


def noise(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """Anything at all: far, fast, not a number, of the wrong size, too old, from the future."""
    n = limits.lower.size
    scale = 10.0 ** rng.uniform(-3, 4)
    parts = [scale * rng.standard_normal(n) for _ in range(3)]
    kind = rng.integers(12)
    if kind == 0:
        parts[rng.integers(3)][rng.integers(n)] = rng.choice([np.nan, np.inf, -np.inf, 1e308])
    elif kind == 1:
        parts[rng.integers(3)] = np.zeros(rng.choice([0, 1, n - 1, n + 1]))
    elif kind == 2:
        return None
    stamp = time + rng.choice([0, 0, 0, -0.03, -0.2, 0.2, -10, 1e9, np.nan, np.inf])
    horizon = rng.choice([0, 1e-9, 1e-4, 0.008, 0.1, 5.0, 1e9, np.nan, np.inf, -1.0])
    return Target(stamp, State(*parts), horizon)


def extremes(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """From limit to limit at full speed, each joint for itself."""
    up = rng.integers(0, 2, limits.lower.size) > 0
    q = np.where(up, limits.upper, limits.lower)
    qd = np.where(up, 1, -1) * limits.velocity * rng.choice([-1, 0, 1])
    return Target(time, State(q, qd, 50 * qd), rng.choice([0.0, 0.005, 0.05]))


def outward(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """Close to a limit and still on the way out, then silence at the worst moment."""
    if rng.uniform() < 0.3:
        return None
    near = rng.choice([0.0, 1e-6, 1e-3, 0.02, 0.1])
    state = State(limits.upper - near, limits.velocity, limits.acceleration)
    return Target(time, state, rng.choice([0.0, 0.004, 0.02, 0.2]))


def walk(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """A smooth wide motion beyond the limits, with dropped and late targets."""
    if rng.uniform() < 0.2:
        return None
    middle, size = (limits.upper + limits.lower) / 2, 0.6 * (limits.upper - limits.lower)
    w = 0.9 * limits.velocity / size
    late = rng.choice([0, 0, 0.01, 0.1, 0.24])
    phase = w * (time - late + 0.01)
    state = State(
        middle + size * np.sin(phase), size * w * np.cos(phase), -size * w**2 * np.sin(phase)
    )
    return Target(time - late, state, 0.01)


@pytest.mark.parametrize("stream", [noise, extremes, outward, walk])
@pytest.mark.parametrize(("arm", "rate"), [("ur5", 125), ("ur5e", 500), ("dofbot", 50)])
def test_no_stream_of_targets_breaks_a_limit(stream: Stream, arm: str, rate: int) -> None:
    """At every moment of every plan: within limits, continuous, and at rest in the end."""
    limits, rng = limits_of(arm), np.random.default_rng(rate)
    plan, time = rest(robot(arm).home, 0.0), 0.0
    for k in range(400):
        after = time + rng.uniform(0.2, 1.8) / rate
        if rng.uniform() < 0.01:
            after += rng.choice([0.1, 1.0, 30.0])  # a stalled machine
        assert_safe([plan.at(t) for t in np.linspace(time, after, 5)], limits)
        time = after
        before, plan = plan.at(time), drive(plan, stream(rng, k, time, limits), time, limits)
        np.testing.assert_allclose(plan.at(time).q, before.q, atol=1e-9)
        np.testing.assert_allclose(plan.at(time).qd, before.qd, atol=1e-9)
        if k % 10 == 0:
            assert_safe_to_its_end(plan, limits)


@pytest.mark.parametrize("stream", [extremes, outward, walk])
def test_a_halt_from_anywhere_is_short_and_says_why(stream: Stream) -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(3)
    plan, bound = rest(robot("ur5").home, 0.0), 0.0
    for k in range(300):
        time = k / 125
        plan = drive(plan, stream(rng, k, time, limits), time, limits)
        stop = halt(plan, time + 0.004, limits, "person lost")
        assert stop.held == "person lost"
        still = stop.start + sum(part.duration for part in stop.parts) - (time + 0.004)
        bound = max(bound, still)
        assert_safe_to_its_end(stop, limits)
    # velocity / acceleration + the time to build up and let go of the acceleration, and the
    # longest way that may have to be finished because braking would overstep a limit
    assert bound < 1.5


def test_lost_targets_bring_the_arm_to_rest_even_without_ticks() -> None:
    """A plan ends by itself soon after its target is stale: nobody has to tell it."""
    limits, home = limits_of("ur5"), robot("ur5").home
    qd = np.full(6, 1.0)
    plan = rest(home, 0.0)
    for k in range(100):
        t = (k + 1) / 125
        motion = State(home + 0.1 * t**2, 0.2 * t * qd, 0.2 * qd)
        plan = follow(plan, Target(k / 125, motion, 1 / 125), k / 125, limits, CONFIG)
    last = 99 / 125
    np.testing.assert_allclose(plan.at(last + 0.2).qd, 0.16 * qd + 0.02 * 0.2, atol=1e-3)
    assert np.abs(plan.at(last + CONFIG.timeout + 0.3).qd).max() == 0


def test_a_feasible_stream_at_the_arms_rate_passes_as_it_is() -> None:
    limits, arm = limits_of("ur5"), robot("ur5")

    def motion(t: float) -> State:
        """0.3 (1 - cos 2t)^2: a wave that starts gently from rest."""
        c, d, e = 1 - np.cos(2 * t), 2 * np.sin(2 * t), 4 * np.cos(2 * t)
        columns = 0.3 * c * c, 0.6 * c * d, 0.6 * (d * d + c * e)
        return State(arm.home + columns[0], *(np.full(6, x) for x in columns[1:]))

    plan, errors = rest(arm.home, 0.0), []
    for k in range(500):
        time = k / 125
        plan = follow(plan, Target(time, motion(time + 0.008), 0.008), time, limits, CONFIG)
        now, then = plan.at(time + 0.008), motion(time + 0.008)
        errors.append([np.abs(a - b).max() for a, b in zip(now, then, strict=True)])
        assert plan.held is None
    position, velocity, acceleration = np.max(errors, axis=0)
    assert position < 1e-6 and velocity < 1e-6
    assert acceleration < 0.05


def test_a_stream_stays_verbatim_when_its_ticks_and_stamps_jitter() -> None:
    """Targets that come late or twice are met at the time they were wanted for."""
    limits, arm, rng = limits_of("ur5"), robot("ur5"), np.random.default_rng(0)
    plan = rest(arm.home, 0.0)
    for k in range(300):
        stamp = k / 125
        phase = 2 * (stamp + 0.008)
        q, qd, qdd = 1 - np.cos(phase), 2 * np.sin(phase), 4 * np.cos(phase)
        state = State(arm.home + 0.3 * q, np.full(6, 0.3 * qd), np.full(6, 0.3 * qdd))
        plan = follow(
            plan, Target(stamp, state, 0.008), stamp + rng.uniform(0, 0.004), limits, CONFIG
        )
        np.testing.assert_allclose(plan.at(stamp + 0.008).q, state.q, atol=1e-6)


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot", "kuka_iiwa"])
def test_a_set_point_is_reached_with_limited_jerk(arm: str) -> None:
    limits, rng = limits_of(arm), np.random.default_rng(1)
    goal = rng.uniform(limits.lower, limits.upper)
    zero = np.zeros_like(goal)
    plan = follow(
        rest(robot(arm).home, 0.0), Target(0, State(goal, zero, zero), 0), 0, limits, CONFIG
    )
    times = np.linspace(0, 12, 12001)
    states = [plan.at(t) for t in times]
    np.testing.assert_allclose(states[-1].q, goal, atol=1e-8)
    assert_safe(states, limits)
    jerk = np.diff([s.qdd for s in states], axis=0) / (times[1] - times[0])
    assert (np.abs(jerk) <= limits.jerk * 1.001).all()


def test_a_moving_target_is_met() -> None:
    """The lag behind a target that moves steadily goes to zero."""
    limits, arm = limits_of("ur5"), robot("ur5")
    qd, zero = np.full(6, 0.5), np.zeros(6)
    plan = rest(arm.home, 0.0)
    for k in range(30):  # as a camera gives them
        stamp = k / 30
        target = Target(stamp, State(arm.home + 0.3 + qd * (stamp + 0.03), qd, zero), 0.03)
        plan = follow(plan, target, stamp + 0.02, limits, CONFIG)
    end = 30 / 30
    np.testing.assert_allclose(plan.at(end).q, arm.home + 0.3 + qd * end, atol=1e-4)
    np.testing.assert_allclose(plan.at(end).qd, qd, atol=1e-4)


def test_an_arm_that_starts_outside_its_limits_only_goes_inwards() -> None:
    limits, arm = limits_of("ur5"), robot("ur5")
    start = arm.home.copy()
    start[2] = limits.upper[2] + 0.05
    plan = rest(start, 0.0)
    np.testing.assert_array_equal(plan.at(0.5).q, start)
    zero = np.zeros(6)
    for k in range(200):
        target = Target(k / 125, State(arm.home, zero, zero), 0.008)
        plan = follow(plan, target, k / 125, limits, CONFIG)
        assert plan.held is None
        assert plan.at(k / 125 + 0.004).q[2] <= start[2] + 1e-9
    np.testing.assert_allclose(plan.at(3.0).q, arm.home, atol=1e-8)


def test_same_input_gives_same_output_and_stays_untouched() -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(5)
    measured = robot("ur5").home.copy()
    plan = rest(measured, 0.0)
    measured += 1.0  # a driver's buffer, used again
    np.testing.assert_array_equal(plan.at(0.0).q, robot("ur5").home)
    target = extremes(rng, 0, 0.0, limits)
    assert target is not None
    before = copy.deepcopy(target)
    first, second = (follow(plan, target, 0.0, limits, CONFIG) for _ in range(2))
    for t in np.linspace(0, 3, 20):
        np.testing.assert_array_equal(first.at(t).q, second.at(t).q)
    for old, new in zip(before.state, target.state, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(plan.at(9.0).q, robot("ur5").home)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stamp": -0.3}, "stale"),
        ({"stamp": 0.3}, "future"),
        ({"stamp": np.nan}, "not finite"),
        ({"horizon": np.inf}, "not finite"),
        ({"horizon": -0.1}, "negative horizon"),
        ({"state": State(np.full(6, np.nan), np.zeros(6), np.zeros(6))}, "not finite"),
        ({"state": State(np.zeros(5), np.zeros(6), np.zeros(6))}, "5 joints, the arm 6"),
        ({"state": State(np.zeros(6), np.zeros(5), np.zeros(6))}, "joints, the arm 6"),
    ],
)
def test_bad_target_is_refused_with_its_reason(change: dict, reason: str) -> None:
    good = Target(0.0, State(*np.zeros((3, 6))), 0.01)
    assert check_target(good, 6, 0.1, CONFIG) is None
    assert reason in str(check_target(good._replace(**change), 6, 0.0, CONFIG))
    assert check_target(None, 6, 0.0, CONFIG) == "no target yet"


@pytest.mark.parametrize("unit", ["N m", "rad"])
def test_any_finite_action_ends_within_limits(unit: str) -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(0)
    for _ in range(300):
        action = 10.0 ** rng.uniform(-3, 300) * rng.standard_normal(6)
        measured = rng.uniform(-7, 7, 6)
        safe, reason = limit_action(action, measured, unit, limits)
        if unit == "N m":
            assert (np.abs(safe) <= limits.effort).all()
        else:
            assert (safe >= limits.lower).all() and (safe <= limits.upper).all()
        assert (reason is None) == np.array_equal(safe, action)
    with pytest.raises(ValueError, match="not finite"):
        limit_action(np.full(6, np.inf), measured, unit, limits)
    with pytest.raises(ValueError, match="no limits for actions in 'A'"):
        limit_action(np.zeros(6), measured, "A", limits)


def test_servo_setpoint_is_never_far_from_the_arm() -> None:
    limits = limits_of("dofbot")
    safe, reason = limit_action(limits.upper, np.zeros(5), "rad", limits)
    assert (safe <= 0.5 * limits.velocity).all() and reason


@pytest.mark.parametrize(
    "bad", [{"speed": 0}, {"speed": 1.1}, {"timeout": 0}, {"margin": -1}, {"jerk": 0}, {"jump": 1}]
)
def test_config_that_guards_nothing_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        GuardConfig(**bad)

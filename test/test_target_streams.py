"""Safety limits under arbitrary targets: plans keep the limits and end at rest."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from arm_limits import CONFIG, assert_within, limits_of
from oracle import robot

from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import NO_TARGET, Limits, check_age, validate_target
from invdyn_ros.control.target_planning import (
    brake_plan,
    hold_plan,
    plan_to_target,
    stop_plan,
)

Stream = Callable[[np.random.Generator, int, float, Limits], Target | None]


def drive(plan: Plan, target: Target | None, time: float, limits: Limits) -> Plan:
    """Return the plan after one control step: to a valid target, or to a stop."""
    problem: str | None = NO_TARGET
    if target is not None:
        problem = validate_target(target, limits.lower.size) or check_age(target, time, CONFIG)
    if problem is None and target is not None:
        return plan_to_target(plan, target, time, limits, CONFIG)
    if plan.hold_reason != problem:
        return stop_plan(plan, time, limits, str(problem))
    return plan


def assert_safe_to_its_end(plan: Plan, limits: Limits) -> None:
    times = np.arange(plan.start_time, plan.end_time + 0.01, 0.002)
    assert_within(plan.sample(times)[0], 0.002, limits)
    np.testing.assert_array_equal(plan.at(plan.end_time + 1e-9).qd, 0)
    np.testing.assert_array_equal(plan.at(plan.end_time + 100).q, plan.at(np.inf).q)


def noise(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """Random targets: far, fast, not finite, of wrong size, stale or from the future."""
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
    """Targets at the limits of position and velocity, independent for each joint."""
    up = rng.integers(0, 2, limits.lower.size) > 0
    q = np.where(up, limits.upper, limits.lower)
    qd = np.where(up, 1, -1) * limits.velocity * rng.choice([-1, 0, 1])
    return Target(time, State(q, qd, 50 * qd), rng.choice([0.0, 0.005, 0.05]))


def outward(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """Targets close to a limit that move outwards, with gaps at the worst moment."""
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


def smooth(rng: np.random.Generator, k: int, time: float, limits: Limits) -> Target | None:
    """A smooth motion that jitters, with and without its acceleration."""
    middle, size = (limits.upper + limits.lower) / 2, 0.1 * (limits.upper - limits.lower)
    w, n = 0.5 * limits.velocity / size, limits.lower.size
    phase, jitter = w * (time + 0.01), 10.0 ** rng.uniform(-8, -2) * rng.standard_normal(n)
    q, qd, qdd = size * np.sin(phase), size * w * np.cos(phase), -size * w**2 * np.sin(phase)
    state = State(middle + q + jitter, qd, rng.choice([0, 1]) * qdd)
    return Target(time, state, rng.choice([0.0, 0.01, 0.01, 0.01]))


@pytest.mark.parametrize(
    ("arm", "step"), [("ur5", 0.004), ("ur5e", 0.002), ("dofbot", 0.005), ("kuka_iiwa", 0.004)]
)
def test_no_stream_of_targets_breaks_a_limit(arm: str, step: float) -> None:
    """The motion of an arm that replans again and again keeps all limits, jerk included."""
    limits, rng = limits_of(arm), np.random.default_rng(round(1 / step))
    plan, scaled, tick, moved = hold_plan(robot(arm).home, 0.0), limits, 0, []
    streams = [noise, extremes, outward, walk, smooth]
    for k in range(1000):
        steps = rng.choice([1, 1, 2, 4]) if rng.uniform() > 0.01 else rng.choice([20, 250, 2500])
        moved.append(plan.sample(step * np.arange(tick, tick + steps))[0])
        tick += steps
        if rng.uniform() < 0.02:
            scaled = limits.scaled(10 ** min(rng.uniform(-2, 1), 0.0))
        target = streams[k // 60 % len(streams)](rng, k, tick * step, limits)
        plan = drive(plan, target, tick * step, scaled)
        if k % 25 == 0:
            assert_safe_to_its_end(plan, limits)
    assert_within(np.concatenate(moved), step, limits)


@pytest.mark.parametrize("resent", [True, False])
def test_fast_motions_between_random_states_stay_within_the_position_limits(resent: bool) -> None:
    """Neither a target that is sent once nor one that is sent again overshoots."""
    limits, rng = limits_of("ur5"), np.random.default_rng(0)
    for _ in range(15):
        start, end = rng.uniform(limits.lower, limits.upper, (2, 6))
        qd = rng.uniform(-1, 1, 6) * limits.velocity
        plan, moved = hold_plan(start, 0.0), []
        for k in range(60):
            target = Target(k / 30 if resent else 0.0, State(end, qd, np.zeros(6)), 0.0)
            plan = drive(plan, target, k / 30, limits)
            moved.append(plan.sample((k + np.arange(8) / 8) / 30)[0])
        assert_within(np.concatenate(moved), 1 / 240, limits)


@pytest.mark.parametrize("jitter", [1e-5, 1e-4, 1e-3])
def test_jittering_targets_are_followed_without_lag(jitter: float) -> None:
    """The reference of a constant velocity is on average where the target is, and calmer."""
    limits, home, rng = limits_of("ur5"), robot("ur5").home, np.random.default_rng(7)
    qd, h, plan, errors = np.full(6, 0.2), 0.008, hold_plan(robot("ur5").home, 0.0), []
    for k in range(500):
        q = home + qd * (k + 1) * h + jitter * rng.standard_normal(6)
        plan = drive(plan, Target(k * h, State(q, qd, np.zeros(6)), h), k * h, limits)
        assert plan.hold_reason is None
        errors.append(plan.at((k + 1) * h).q - home - qd * (k + 1) * h)
    late = np.array(errors[100:])
    assert np.abs(late.mean(axis=0)).max() < 0.3 * jitter + 1e-9
    assert np.sqrt(np.mean(late**2)) < 1.5 * jitter + 1e-9


@pytest.mark.parametrize("qd", [0.0, 1.0])
def test_reduced_speed_brakes_the_arm_smoothly(qd: float) -> None:
    """On the way to a set point, and behind a target that is now too fast."""
    limits, home = limits_of("ur5"), robot("ur5").home
    plan, slow, step = hold_plan(home, 0.0), limits.scaled(0.05), 1 / 125
    moved = []
    for k in range(250):
        q = home + (qd * (k + 1) * step if qd else 3.0)
        target = Target(k * step, State(q, np.full(6, qd), np.zeros(6)), step if qd else 0.0)
        plan = drive(plan, target, k * step, slow if k >= 60 else limits)
        assert plan.hold_reason is None
        moved.append(plan.sample(step * (k + np.arange(2) / 2))[0])
    assert_within(np.concatenate(moved), step / 2, limits)
    speed = np.abs(np.diff(np.concatenate(moved), axis=0)) / (step / 2)
    assert speed[:120].max() > (0.9 if qd else 0.9 * limits.velocity.max())
    assert (speed[250:] <= slow.velocity * (1 + 2e-6)).all()
    assert speed[-1].max() > 0.99 * slow.velocity.max()


def test_fastest_stop_keeps_the_position_limits_or_is_refused() -> None:
    limits = limits_of("ur5")
    qd = np.array([2.0, -2.0, 1.0, 0.0, 0.5, -0.5])
    moving = State(limits.upper - 1.0, qd, np.zeros(6))
    plan = brake_plan(moving, 3.0, limits, "blocked")
    assert plan is not None and plan.hold_reason == "blocked"
    assert_safe_to_its_end(plan, limits)
    near = moving._replace(q=limits.upper - 0.01)
    assert brake_plan(near, 3.0, limits, "blocked") is None


@pytest.mark.parametrize("stream", [extremes, outward, walk])
def test_stop_is_short_and_has_a_reason(stream: Stream) -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(3)
    plan, bound = hold_plan(robot("ur5").home, 0.0), 0.0
    for k in range(200):
        time = k / 125
        plan = drive(plan, stream(rng, k, time, limits), time, limits)
        stop = stop_plan(plan, time + 0.004, limits, "person lost")
        assert stop.hold_reason == "person lost"
        bound = max(bound, stop.end_time - (time + 0.004))
        assert_safe_to_its_end(stop, limits)
    # velocity / acceleration, the time to ramp the acceleration up and down, and the longest
    # motion that has to be finished because braking would violate a limit
    assert bound < 1.5


def test_missing_targets_bring_the_arm_to_rest_without_updates() -> None:
    """A plan ends by itself soon after its target is stale."""
    limits, home = limits_of("ur5"), robot("ur5").home
    qd = np.full(6, 1.0)
    plan = hold_plan(home, 0.0)
    for k in range(100):
        t = (k + 1) / 125
        motion = State(home + 0.1 * t**2, 0.2 * t * qd, 0.2 * qd)
        plan = plan_to_target(plan, Target(k / 125, motion, 1 / 125), k / 125, limits, CONFIG)
    last = 99 / 125
    np.testing.assert_allclose(plan.at(last + 0.2).qd, 0.16 * qd + 0.02 * 0.2, atol=1e-3)
    assert np.abs(plan.at(last + CONFIG.target_timeout + 0.3).qd).max() == 0


def test_same_input_gives_same_output_and_is_not_modified() -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(5)
    measured = robot("ur5").home.copy()
    plan = hold_plan(measured, 0.0)
    measured += 1.0  # a buffer that a driver reuses
    np.testing.assert_array_equal(plan.at(0.0).q, robot("ur5").home)
    target = extremes(rng, 0, 0.0, limits)
    assert target is not None
    before = copy.deepcopy(target)
    first, second = (plan_to_target(plan, target, 0.0, limits, CONFIG) for _ in range(2))
    for t in np.linspace(0, 3, 20):
        np.testing.assert_array_equal(first.at(t).q, second.at(t).q)
    for old, new in zip(before.state, target.state, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(plan.at(9.0).q, robot("ur5").home)

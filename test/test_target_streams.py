"""Safety limits under arbitrary targets: plans keep the limits and end at rest."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from arm_limits import CONFIG, assert_safe, limits_of
from oracle import robot

from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import NO_TARGET, Limits, check_age, validate_target
from invdyn_ros.control.target_planning import hold_plan, plan_to_target, stop_plan

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
    end = plan.end_time
    assert_safe([plan.at(t) for t in np.linspace(plan.start_time, end, 60)], limits)
    assert np.abs(plan.at(end + 1e-9).qd).max() == 0
    np.testing.assert_allclose(plan.at(end - 1e-9).qd, 0, atol=1e-6)
    np.testing.assert_array_equal(plan.at(end + 100).q, plan.at(end + 1).q)


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


@pytest.mark.slow
@pytest.mark.parametrize("stream", [noise, extremes, outward, walk])
@pytest.mark.parametrize(("arm", "rate"), [("ur5", 125), ("ur5e", 500), ("dofbot", 50)])
def test_no_stream_of_targets_breaks_a_limit(stream: Stream, arm: str, rate: int) -> None:
    """Every plan is within limits, continuous, and ends at rest."""
    limits, rng = limits_of(arm), np.random.default_rng(rate)
    plan, time = hold_plan(robot(arm).home, 0.0), 0.0
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
def test_stop_is_short_and_has_a_reason(stream: Stream) -> None:
    limits, rng = limits_of("ur5"), np.random.default_rng(3)
    plan, bound = hold_plan(robot("ur5").home, 0.0), 0.0
    for k in range(300):
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

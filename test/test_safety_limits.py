"""Safety limits: feasible targets are reached, bad ones refused, and actions limited."""

from __future__ import annotations

import numpy as np
import pytest
from arm_limits import CONFIG, assert_within, limits_of
from oracle import robot

from invdyn_ros.control.action_limits import ActionLimits
from invdyn_ros.control.motion_profile import MotionProfile, Plan, State, Target, integrate
from invdyn_ros.control.safety_limits import (
    SafetyLimitsConfig,
    check_age,
    validate_target,
)
from invdyn_ros.control.target_planning import hold_plan, plan_to_target


def test_feasible_targets_are_reached_exactly() -> None:
    limits, arm = limits_of("ur5"), robot("ur5")

    def motion(t: float) -> State:
        """0.3 (1 - cos 2t)^2: a wave that starts gently from rest."""
        c, d, e = 1 - np.cos(2 * t), 2 * np.sin(2 * t), 4 * np.cos(2 * t)
        columns = 0.3 * c * c, 0.6 * c * d, 0.6 * (d * d + c * e)
        return State(arm.home + columns[0], *(np.full(6, x) for x in columns[1:]))

    plan, errors = hold_plan(arm.home, 0.0), []
    for k in range(500):
        time = k / 125
        plan = plan_to_target(
            plan, Target(time, motion(time + 0.008), 0.008), time, limits, CONFIG
        )
        now, expected = plan.at(time + 0.008), motion(time + 0.008)
        errors.append([np.abs(a - b).max() for a, b in zip(now, expected, strict=True)])
        assert plan.hold_reason is None
    position, velocity, acceleration = np.max(errors, axis=0)
    assert position < 1e-6 and velocity < 1e-6
    assert acceleration < 0.05


def test_targets_are_reached_exactly_with_jitter() -> None:
    """Late and repeated targets are reached at their time, once the arm moves with them."""
    limits, arm, rng = limits_of("ur5"), robot("ur5"), np.random.default_rng(0)
    plan = hold_plan(arm.home, 0.0)
    for k in range(300):
        stamp = k / 125
        phase = 2 * (stamp + 0.008)
        q, qd, qdd = 1 - np.cos(phase), 2 * np.sin(phase), 4 * np.cos(phase)
        state = State(arm.home + 0.3 * q, np.full(6, 0.3 * qd), np.full(6, 0.3 * qdd))
        plan = plan_to_target(
            plan, Target(stamp, state, 0.008), stamp + rng.uniform(0, 0.004), limits, CONFIG
        )
        error = np.abs(plan.at(stamp + 0.008).q - state.q).max()
        assert error < (2e-3 if k < 40 else 1e-6)


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot", "kuka_iiwa"])
def test_set_point_is_reached_with_limited_jerk(arm: str) -> None:
    limits, rng = limits_of(arm), np.random.default_rng(1)
    config = SafetyLimitsConfig(target_timeout=12)
    goal = rng.uniform(limits.lower, limits.upper)
    zero = np.zeros_like(goal)
    plan = plan_to_target(
        hold_plan(robot(arm).home, 0.0), Target(0, State(goal, zero, zero), 0), 0, limits, config
    )
    moved, _ = plan.sample(np.linspace(0, 12, 6001))
    np.testing.assert_allclose(moved[-1], goal, atol=1e-8)
    assert_within(moved, 0.002, limits)


@pytest.mark.parametrize("arm", ["ur5e", "kuka_iiwa"])
def test_a_plan_from_a_target_to_itself_survives_rounding_errors(arm: str) -> None:
    """However little the state differs from the target, there is a motion to it."""
    limits, home, rng = limits_of(arm), robot(arm).home, np.random.default_rng(2)
    zero = np.zeros_like(home)
    for _ in range(200):
        tiny = 10.0 ** rng.uniform([[-18], [-40], [-40]], -6, (3, home.size))
        tiny *= rng.choice([-1.0, 0.0, 1.0], tiny.shape)
        current = State(home + tiny[0], *tiny[1:])
        plan = Plan(0.0, MotionProfile(integrate(current, tiny[:0], tiny[:0])))
        target = Target(0.0, State(home, zero, zero), 0.0)
        assert plan_to_target(plan, target, 0.0, limits, CONFIG).hold_reason is None


def test_moving_target_is_intercepted() -> None:
    """The lag behind a target of constant velocity converges to zero."""
    limits, arm = limits_of("ur5"), robot("ur5")
    qd, zero = np.full(6, 0.5), np.zeros(6)
    plan = hold_plan(arm.home, 0.0)
    for k in range(30):  # as a camera gives them
        stamp = k / 30
        target = Target(stamp, State(arm.home + 0.3 + qd * (stamp + 0.03), qd, zero), 0.03)
        plan = plan_to_target(plan, target, stamp + 0.02, limits, CONFIG)
    end = 30 / 30
    np.testing.assert_allclose(plan.at(end).q, arm.home + 0.3 + qd * end, atol=1e-4)
    np.testing.assert_allclose(plan.at(end).qd, qd, atol=1e-4)


def test_arm_outside_its_limits_only_moves_inwards() -> None:
    limits, arm = limits_of("ur5"), robot("ur5")
    start = arm.home.copy()
    start[2] = limits.upper[2] + 0.05
    plan = hold_plan(start, 0.0)
    np.testing.assert_array_equal(plan.at(0.5).q, start)
    zero = np.zeros(6)
    for k in range(200):
        target = Target(k / 125, State(arm.home, zero, zero), 0.008)
        plan = plan_to_target(plan, target, k / 125, limits, CONFIG)
        assert plan.hold_reason is None
        assert plan.at(k / 125 + 0.004).q[2] <= start[2] + 1e-9
    np.testing.assert_allclose(plan.at(3.0).q, arm.home, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stamp": -0.3}, "stale"),
        ({"stamp": 0.3}, "future"),
        ({"stamp": np.nan}, "not finite"),
        ({"horizon": np.inf}, "not finite"),
        ({"horizon": -0.1}, "negative horizon"),
        ({"horizon": 1e155}, "a horizon of 1e+155 s; the limit is 1 s"),
        ({"stamp": 1e308, "horizon": 1e308}, "horizon of 1e+308"),
        ({"stamp": -1e308}, "stale"),
        ({"state": State(np.full(6, 1e308), *np.full((2, 6), -1e308))}, "a value of 1e+308"),
        ({"state": State(np.zeros(6), np.full(6, np.inf), np.zeros(6))}, "not finite"),
        ({"state": State(np.full(6, np.nan), np.zeros(6), np.zeros(6))}, "not finite"),
        ({"state": State(np.zeros(5), np.zeros(6), np.zeros(6))}, "5 joints, the arm 6"),
        ({"state": State(np.zeros(6), np.zeros(5), np.zeros(6))}, "joints, the arm 6"),
    ],
)
def test_bad_target_is_refused_with_its_reason(change: dict, reason: str) -> None:
    good = Target(0.0, State(*np.zeros((3, 6))), 0.01)
    assert validate_target(good, 6) is None and check_age(good, 0.1, CONFIG) is None
    bad = good._replace(**change)
    assert reason in str(validate_target(bad, 6) or check_age(bad, 0.0, CONFIG))


@pytest.mark.parametrize("unit", ["N m", "rad"])
def test_any_finite_action_ends_within_limits(unit: str) -> None:
    limits, rng, still = limits_of("ur5"), np.random.default_rng(0), np.zeros(6)
    checked, last = ActionLimits(unit, limits), None
    for k in range(300):
        action = 10.0 ** rng.uniform(-3, 300) * rng.standard_normal(6)
        measured, planned = rng.uniform(limits.lower, limits.upper, (2, 6))
        desired = State(planned, still, still)
        safe, reason = checked.limit(action, 0.008 * k, measured, desired)
        if unit == "N m":
            assert (np.abs(safe) <= limits.effort).all()
            if last is not None:
                assert (np.abs(safe - last) <= 0.2 * limits.effort).all()
        else:
            assert (safe >= limits.lower).all() and (safe <= limits.upper).all()
            assert (np.abs(safe - measured) <= 0.05 + 1e-9).all()
        assert (reason is None) == np.array_equal(safe, action)
        last = safe
    with pytest.raises(ValueError, match="no limits for actions in 'A'"):
        ActionLimits("A", limits)


def test_speed_outside_its_range_is_refused() -> None:
    for speed in (0.0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="greater than 0 and at most 1"):
            limits_of("ur5").scaled(speed)


@pytest.mark.parametrize(
    "bad",
    [
        {"velocity_scaling": 0},
        {"velocity_scaling": 1.1},
        {"target_timeout": 0},
        {"position_margin": -1},
        {"jerk_ratio": 0},
        {"speed": 1.1},
    ],
)
def test_config_that_guards_nothing_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        SafetyLimitsConfig(**bad)

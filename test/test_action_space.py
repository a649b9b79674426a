"""From actions to wanted next states, and back."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.control.safety_limits import (
    Limits,
    Plan,
    SafetyLimitsConfig,
    State,
    Target,
    hold_plan,
    plan_to_target,
)
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.robots.robot import load_robot

CONFIG = ActionSpaceConfig()


def steps(steering, actions):
    """Wanted states after each action, the arm where it is wanted."""
    made = []
    for action in actions:
        made.append(steering(action, steering.target.q).state)
    return made


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_an_action_of_one_is_the_share_of_the_rated_speed(arm):
    steering = make_action_space("joint", load_robot(arm), CONFIG)
    action = np.zeros(steering.size)
    action[0] = 1.0
    last = steps(steering, [action] * 10)[-1]
    assert last.qd[0] == pytest.approx(CONFIG.joint_speed_fraction * steering.robot.velocity[0])
    assert (last.qd[1:] == 0).all()


@pytest.mark.parametrize("control", ["joint", "cartesian"])
@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_the_guard_takes_every_wanted_state_as_it_is(arm, control):
    """However wild the actions, up to the ends of the joints."""
    robot = load_robot(arm)
    steering = make_action_space(control, robot, CONFIG)
    limits, guard = Limits.from_robot(robot, SafetyLimitsConfig()), SafetyLimitsConfig()
    random, plan, h = np.random.default_rng(0), hold_plan(robot.home, 0.0), CONFIG.action_period
    wild = np.repeat(random.choice([-1.0, 0.3, 1.0], (40, steering.size)), 8, axis=0)
    for k, wanted in enumerate(steps(steering, wild)):
        plan = plan_to_target(plan, Target(k * h, wanted, h), k * h, limits, guard)
        assert isinstance(plan, Plan) and plan.hold_reason is None
        there = plan.at((k + 1) * h - 1e-12)
        np.testing.assert_allclose(there.q, wanted.q, atol=1e-6)
        np.testing.assert_allclose(there.qd, wanted.qd, atol=1e-4)
        assert (wanted.q >= limits.lower).all() and (wanted.q <= limits.upper).all()


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_a_motion_within_the_speeds_can_be_asked_for(arm):
    """Actions toward the states of a smooth motion lead along it."""
    robot = load_robot(arm)
    steering = make_action_space("joint", robot, CONFIG)
    for k in range(100):
        t = (k + 1) * CONFIG.action_period
        q = robot.home + 0.2 * (1 - np.cos(1.5 * t))
        wanted = State(q, np.full(robot.n, 0.3 * np.sin(1.5 * t)), np.zeros(robot.n))
        made = steering(steering.target_to_action(wanted, 0.03), steering.target.q)
        np.testing.assert_allclose(made.state.q, q, atol=2e-3)
        assert made.opening == pytest.approx(0.03)


@pytest.mark.parametrize(("arm", "tilt"), [("ur5", 0.03), ("dofbot", 1.6)])
def test_a_cartesian_action_moves_the_tool_that_way(arm, tilt):
    robot = load_robot(arm)
    steering = make_action_space("cartesian", robot, CONFIG)
    start = robot.forward_kinematics(robot.home)
    action = np.array([0.0, 0.2, -0.2, 0.0, 1.0])  # up, the DofBot's wrist is at its end
    last = steps(steering, [action] * 15)[-1]
    moved = robot.forward_kinematics(last.q)
    way = moved[:3, 3] - start[:3, 3]
    far = 0.2 * CONFIG.linear_speed * 15 * CONFIG.action_period
    np.testing.assert_allclose(way[1:], [far, -far], rtol=0.2)
    assert abs(way[0]) < 0.15 * far
    assert np.arccos(np.clip(-moved[2, 2], -1, 1)) < tilt


def test_an_arm_that_is_not_where_it_is_wanted_is_not_driven_there_at_once():
    robot = load_robot("ur5")
    steering = make_action_space("joint", robot, CONFIG)
    elsewhere = robot.home + 0.5
    made = steering(np.zeros(7), elsewhere)
    np.testing.assert_allclose(made.state.q, elsewhere)


def test_jacobian_is_the_derivative_of_the_tip():
    for arm in ("ur5", "dofbot"):
        robot = load_robot(arm)
        q, step = robot.home + 0.1, 1e-6
        J = robot.jacobian(q)
        for j in range(robot.n):
            ahead, behind = (
                robot.forward_kinematics(q + s * step * np.eye(robot.n)[j]) for s in (1, -1)
            )
            np.testing.assert_allclose(J[:3, j], (ahead - behind)[:3, 3] / 2 / step, atol=1e-6)
            spin = (ahead - behind)[:3, :3] @ robot.forward_kinematics(q)[:3, :3].T / 2 / step
            np.testing.assert_allclose(J[3:, j], [spin[2, 1], spin[0, 2], spin[1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "field", ["action_period", "joint_speed_fraction", "linear_speed", "angular_speed"]
)
def test_speeds_that_no_arm_has_are_refused(field):
    with pytest.raises(ValueError, match=field):
        ActionSpaceConfig(**{field: 0.0})

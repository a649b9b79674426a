"""Conversion of actions into joint targets and back."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.target_planning import hold_plan, plan_to_target
from invdyn_ros.grasp.policies.action_space import MAX_LEAD, ActionSpaceConfig
from invdyn_ros.grasp.policies.velocity_action_spaces import (
    TABLE_CLEARANCE,
    TOUCH_SPEED,
    make_action_space,
)
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import load_robot

CONFIG, CONFIG_OF_LIMITS = ActionSpaceConfig(), SafetyLimitsConfig()


def apply(action_space, actions):
    """Target states after each action of an arm that follows them exactly."""
    targets = []
    for action in actions:
        targets.append(action_space(action, action_space.target.q).state)
    return targets


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_action_of_one_is_a_fraction_of_the_rated_velocity(arm):
    action_space = make_action_space("joint", load_robot(arm), CONFIG)
    action = np.zeros(action_space.size)
    action[0] = 1.0
    last = apply(action_space, [action] * 20)[-1]
    assert last.qd[0] == pytest.approx(
        CONFIG.joint_speed_fraction * action_space.robot.velocity[0]
    )
    assert (last.qd[1:] == 0).all()


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_safety_limits_let_targets_of_smooth_actions_through(arm):
    robot = load_robot(arm)
    limits, h = Limits.from_robot(robot, CONFIG_OF_LIMITS), CONFIG.action_period
    action_space = make_action_space("joint", robot, CONFIG)
    actions = 0.5 * np.sin(np.arange(320) * h / 2)[:, None] ** 3 * np.ones(action_space.size)
    plan = hold_plan(robot.home, 0.0)
    for k, target in enumerate(apply(action_space, actions)):
        plan = plan_to_target(plan, Target(k * h, target, h), k * h, limits, CONFIG_OF_LIMITS)
        assert isinstance(plan, Plan) and plan.hold_reason is None
        np.testing.assert_allclose(plan.at((k + 1) * h - 1e-12).q, target.q, atol=0.01)
        assert (target.q >= limits.lower).all() and (target.q <= limits.upper).all()


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_target_to_action_follows_a_smooth_motion(arm):
    """The actions toward the states of a smooth motion reproduce it."""
    robot = load_robot(arm)
    action_space = make_action_space("joint", robot, CONFIG)
    for k in range(100):
        t = (k + 1) * CONFIG.action_period
        q = robot.home + 0.2 * (1 - np.cos(1.5 * t))
        target = State(q, np.full(robot.n, 0.3 * np.sin(1.5 * t)), np.zeros(robot.n))
        target = action_space(action_space.target_to_action(target, 0.03), action_space.target.q)
        np.testing.assert_allclose(target.state.q, q, atol=2e-3)
        assert target.opening == pytest.approx(0.03)


@pytest.mark.parametrize(("arm", "tilt"), [("ur5", 0.03), ("dofbot", 1.6)])
def test_cartesian_action_moves_the_tool_in_its_direction(arm, tilt):
    robot = load_robot(arm)
    action_space = make_action_space("cartesian", robot, CONFIG)
    start = robot.forward_kinematics(robot.home)
    action = np.array([0.0, 0.2, -0.2, 0.0, 1.0])  # upward, the DofBot's wrist is at its limit
    apply(action_space, [0 * action] * 15)  # it starts slowly
    last = apply(action_space, [action] * 15)[-1]
    moved = robot.forward_kinematics(last.q)
    displacement = moved[:3, 3] - start[:3, 3]
    distance = 0.2 * CONFIG.linear_speed * 15 * CONFIG.action_period
    np.testing.assert_allclose(displacement[1:], [distance, -distance], rtol=0.2)
    assert abs(displacement[0]) < 0.15 * distance
    assert np.arccos(np.clip(-moved[2, 2], -1, 1)) < tilt


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_target_stays_near_an_arm_that_cannot_move(arm):
    """So an arm that stands on a block presses on little, and goes on at once."""
    robot = load_robot(arm)
    action_space = make_action_space("cartesian", robot, CONFIG)
    tool = robot.forward_kinematics(robot.home)[:3, 3]
    for _ in range(50):
        target = action_space(np.ones(action_space.size), robot.home).state
    distance = np.linalg.norm(robot.forward_kinematics(target.q)[:3, 3] - tool)
    speed = np.linalg.norm((robot.jacobian(robot.home) @ target.qd)[:3])
    allowed = MAX_LEAD[robot.action_unit] + speed * CONFIG.action_period
    assert distance < 1.2 * allowed
    away = action_space(-np.ones(action_space.size), robot.home).state
    assert (away.qd - target.qd)[0] < 0, "it turns back with the next action"


def test_target_restarts_at_an_arm_that_is_far_from_it():
    robot = load_robot("ur5")
    action_space = make_action_space("joint", robot, CONFIG)
    elsewhere = robot.home + 0.5
    target = action_space(np.zeros(7), elsewhere)
    np.testing.assert_allclose(target.state.q, elsewhere)


@pytest.mark.parametrize(("arm", "fastest"), [("ur5", 0.28), ("ur5e", 0.28), ("dofbot", 0.1)])
def test_tool_descends_and_keeps_its_fingers_off_the_table(arm, fastest):
    robot, obstacles = load_robot(arm), load_arm_obstacles(arm)
    action_space = make_action_space("cartesian", robot, CONFIG)
    action, heights = np.array([0.0, 0.0, -1.0, 0.0, 1.0]), []
    for target in apply(action_space, [action] * 150):
        heights.append(robot.forward_kinematics(target.q)[2, 3])
    model = CollisionModel(robot, obstacles)
    at_table = ["table" in pair for pair in model.pairs]
    clearance = model.clearances(target.q)[at_table].min()
    assert 0.5 * TABLE_CLEARANCE < clearance < 1.5 * TABLE_CLEARANCE
    low = np.array(heights) < heights[-1] + 0.02
    assert -np.diff(heights)[low[1:]].min() > -1e-4 * CONFIG.action_period
    assert np.diff(heights)[low[1:]].min() > -1.1 * TOUCH_SPEED * CONFIG.action_period
    # a link that turns close above the table, as that of the UR5 does, slows no descent
    assert -np.diff(heights).min() > fastest * CONFIG.action_period


def test_motion_starts_slowly():
    action_space = make_action_space("cartesian", load_robot("ur5"), CONFIG)
    states = apply(action_space, [np.array([0.0, 0.5, 0.0, 0.0, 1.0])] * 20)
    speeds = [np.abs(state.qd).max() for state in states]
    assert speeds[2] < 0.3 * speeds[-1] and speeds[5] < 0.6 * speeds[-1]


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
def test_invalid_settings_are_rejected(field):
    with pytest.raises(ValueError, match=field):
        ActionSpaceConfig(**{field: 0.0})

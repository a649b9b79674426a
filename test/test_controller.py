"""Arm controller: start at the measured position, late targets, stop with a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arm_limits import assert_within
from plant_oracle import Oracle, engaged_controller, robot, wave

from invdyn_ros.control.command import IGNORED
from invdyn_ros.control.computed_torque import (
    MeasuredState,
)
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.control.target_timing import TargetTiming
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.typing import Array


class Broken:
    n_obs_steps = 1

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        return PredictedAction(np.full((1, 1, motion.shape[-1] // 3), np.nan), None)


def test_nothing_is_sent_before_the_arm_is_engaged() -> None:
    arm = robot("ur5")
    controller = engaged_controller("ur5", IDEAL_PLANT)
    controller.engage(False)
    far = State(arm.home + 1, np.zeros(6), np.zeros(6))
    for k in range(20):
        controller.set_target(Target(k / 125, far, 0.008))
        command = controller.update(MeasuredState(k / 125, arm.home, np.zeros(6)))
        assert command.action is None and command.desired is None
        assert command.reason == "not engaged"


def test_engaging_starts_from_the_measured_position() -> None:
    """Targets from before engaging do not move the arm."""
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    controller.engage(False)
    controller.set_target(Target(0.0, State(arm.home + 1, np.zeros(6), np.zeros(6)), 0.008))
    controller.engage(True)
    for k in range(50):
        command = controller.update(MeasuredState(k / 125, arm.home - 0.3, np.zeros(6)))
        assert command.desired is not None
        np.testing.assert_array_equal(command.desired.q, arm.home - 0.3)
        np.testing.assert_array_equal(command.desired.qd, 0)
        assert command.reason == "no target yet"


def test_after_a_stop_nothing_is_sent_until_engaged_again() -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    assert controller.update(MeasuredState(0.0, arm.home, np.zeros(6))).action is not None
    controller.stop()
    commands = []
    for k in range(1, 60):
        controller.set_target(Target(k / 125, State(arm.home, np.zeros(6), np.zeros(6)), 0.008))
        commands.append(controller.update(MeasuredState(k / 125, arm.home, np.zeros(6))))
    assert {command.reason for command in commands} == {"stopped"}
    assert commands[0].action is not None, "the arm is held while it comes to rest"
    assert all(command.action is None for command in commands[40:])
    controller.engage(True)
    assert controller.update(MeasuredState(0.48, arm.home, np.zeros(6))).action is not None


def test_model_output_that_is_not_finite_stops_the_arm() -> None:
    arm = robot("ur5")
    controller = ArmController(arm, Broken(), "N m", 0.0)
    controller.engage(True)
    for k in range(60):
        command = controller.update(MeasuredState(k / 125, arm.home, np.zeros(6)))
        assert "not finite" in str(command.reason) and not controller.engaged
        # meanwhile it is held with the torques of its URDF
        assert command.action is None if k > 37 else np.isfinite(command.action).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
@pytest.mark.parametrize("part", ["time", "q", "qd"])
def test_measurement_that_is_none_gives_no_action(part: str, bad: float) -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    good = MeasuredState(0.0, arm.home, np.zeros(6))
    controller.update(good)
    useless = [good._replace(**{part: bad if part == "time" else np.full(6, bad)})]
    useless += [good._replace(q=np.zeros(5)), good._replace(qd=np.zeros(3))]
    for measured in useless:
        command = controller.update(measured)
        assert command.action is None and command.reason == IGNORED and command.fault is None
    assert controller.update(good._replace(time=0.008)).action is not None


def test_restart_of_simulated_time_is_a_new_start_at_rest() -> None:
    """Neither the old target nor the old plan moves the arm."""
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    for k in range(50):
        t = k / 125
        controller.set_target(Target(t, wave(arm, t + 0.008), 0.008))
        controller.update(MeasuredState(t, wave(arm, t).q, wave(arm, t).qd))
    elsewhere = arm.home + 0.7
    for k in range(5):
        command = controller.update(MeasuredState(k / 125, elsewhere, np.zeros(6)))
        assert command.desired is not None and command.fault is None
        np.testing.assert_array_equal(command.desired.q, elsewhere)
        np.testing.assert_array_equal(command.desired.qd, 0)


def test_reordered_joint_state_of_the_first_moments_is_no_restart() -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    states = [
        MeasuredState(k / 125, wave(arm, k / 125).q, wave(arm, k / 125).qd) for k in range(20)
    ]
    for k, measured in enumerate(states):
        controller.set_target(Target(k / 125, wave(arm, (k + 1) / 125), 0.008))
        controller.update(measured)
        plan = controller.plan
        for late in states[max(k - 3, 0) : k]:
            assert controller.update(late).reason == IGNORED and controller.plan is plan


def test_first_command_that_acts_on_a_target_carries_its_stamp_once() -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    controller.update(MeasuredState(0.0, arm.home, np.zeros(6)))
    controller.set_target(Target(0.001, wave(arm, 0.01), 0.008))
    applied = [
        controller.update(MeasuredState(k / 125, arm.home, np.zeros(6))).target_stamp
        for k in (1, 2)
    ]
    assert applied == [0.001, None]


def test_missing_targets_hold_the_arm_with_a_reason() -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    reasons, last = [], None
    for k in range(150):
        t = k / 125
        if k < 60:
            controller.set_target(Target(t, wave(arm, t + 0.008), 0.008))
        desired = (
            controller.plan.at(t) if controller.plan else State(arm.home, np.zeros(6), np.zeros(6))
        )
        command = controller.update(MeasuredState(t, desired.q, desired.qd))
        reasons.append(command.reason)
        last = command.desired
    assert list(dict.fromkeys(reasons[20:])) == [None, "target is late", "target is stale"]
    assert last is not None and np.abs(last.qd).max() == 0


@pytest.mark.parametrize(
    ("rate", "lost", "is_late"), [(30, 1, False), (15, 1, False), (30, 4, True)]
)
def test_late_targets_are_named_and_cost_no_slow_start(
    rate: int, lost: int, is_late: bool
) -> None:
    """One lost frame of any camera is not late; a few of a fast one are, and the arm goes on."""
    arm = robot("ur5")
    controller = ArmController(arm, Oracle(arm, IDEAL_PLANT), "N m", 0.004)
    controller.engage(True)
    missing, sent = range(2 * rate, 2 * rate + lost), -1
    reasons: list[str | None] = []
    speeds: list[float] = []
    for k in range(3 * 125):
        t = k / 125
        frame = int(t * rate + 1e-6)
        if frame != sent and frame not in missing:
            sent = frame
            controller.set_target(Target(t, wave(arm, t + 0.03), 0.03))
        desired = controller.plan.at(t) if controller.plan else hold_plan(arm.home, 0.0).at(t)
        reasons.append(controller.update(MeasuredState(t, desired.q, desired.qd)).reason)
        speeds.append(controller.planner.speed_scale)
    assert ("target is late" in reasons[200:]) == is_late
    assert set(reasons[200:]) <= {None, "target is late"} and reasons[-1] is None
    assert min(speeds[200:]) == 1.0


@pytest.mark.parametrize("change", [{"speed": 0.2}, {"tool_speed": 0.15}])
def test_lower_speeds_act_on_a_moving_arm_without_a_jump(change: dict[str, float]) -> None:
    arm, controller = robot("ur5"), engaged_controller("ur5", IDEAL_PLANT)
    goal = State(arm.home + np.array([2.0, 0, 0, 0, 0, 0]), np.zeros(6), np.zeros(6))
    q, fastest, tool = [arm.home], [], ToolSpeed(arm, controller.limits.jerk)
    for k in range(1, 7 * 125):
        t = k / 125
        controller.set_target(Target(t, goal, 0.0))
        desired = controller.plan.at(t) if controller.plan else hold_plan(arm.home, 0.0).at(t)
        if k == 75:  # on its way, at full speed
            controller.set_safety(replace(controller.safety, **change))
        controller.update(MeasuredState(t, desired.q, desired.qd))
        q.append(desired.q)
        speed = float(tool.speeds(desired.q[None], desired.qd[None])[0])
        fastest.append((float(np.abs(desired.qd / controller.limits.velocity).max()), speed))
    assert_within(np.array(q), 1 / 125, controller.limits)
    joints, tools = np.array(fastest).T
    limit, values = (0.2, joints) if "speed" in change else (0.15, tools)
    assert values[74] > 2 * limit and values[140:].max() <= limit * (1 + 1e-6)
    assert values[140:].max() > 0.5 * limit and abs(q[-1][0] - goal.q[0]) < 1e-3


def test_repeated_target_is_late_and_a_single_one_is_not() -> None:
    timing, target = TargetTiming(0.25), Target(0.0, State(*np.zeros((3, 6))), 0.0)
    timing.add(target, 0.0)
    assert not timing.is_late(0.2)
    for k in range(1, 10):
        timing.add(target._replace(stamp=k / 30), k / 30)
    for k in range(10):
        timing.add(target._replace(stamp=0.3), 0.3 + k / 30)
    assert timing.is_late(0.6)


def test_actions_of_an_unknown_unit_are_refused() -> None:
    with pytest.raises(ValueError, match="'A'"):
        ArmController(robot("ur5"), Broken(), "A", 0.0)

"""Arm controller: tracking with a model, start at the measured position, stop with a reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from arm_limits import assert_within
from plant_oracle import BulletOracle, Oracle

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.command import IGNORED
from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    ConstantInertiaModel,
    MeasuredState,
)
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.control.target_timing import TargetTiming
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.evaluation.closed_loop import ANY_ERROR
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.plant import IDEAL_PLANT, PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.typing import Array

robot = cache(load_robot)
NO_SLOW_IN = SafetyLimitsConfig(slow_in_time=0.0)


class Broken:
    n_obs_steps = 1

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        return PredictedAction(np.full((1, 1, motion.shape[-1] // 3), np.nan), None)


def engaged_controller(arm: str, plant: PlantConfig, kind: type[Oracle] = Oracle) -> ArmController:
    """Return an engaged controller with the plant's own inverse."""
    action_delay = plant.delay + 0.5 / robot(arm).rate
    controller = ArmController(
        robot(arm), kind(robot(arm), plant), robot(arm).action_unit, action_delay, NO_SLOW_IN
    )
    controller.engage(True)
    return controller


def wave(arm: Robot, t: float, size: float = 0.25, w: float = 2.0) -> State:
    """A motion of all joints from rest at home: size (1 - cos wt)^2 / 2."""
    c, d, e = 1 - np.cos(w * t), w * np.sin(w * t), w * w * np.cos(w * t)
    ones = size / 2 * np.ones(arm.n)
    ones *= np.where(arm.home + 1.5 * size * 4 > arm.upper, -1, 1)
    return State(arm.home + c * c * ones, 2 * c * d * ones, 2 * (d * d + c * e) * ones)


def errors(
    arm: str, plant: PlantConfig, controller: ArmController, seconds: float = 4.0
) -> np.ndarray:
    """Return the tracking errors (T, n) [rad] along the wave."""
    body, rows = robot(arm), []
    with Simulation(body, plant, seed=1) as simulation:
        for _ in range(round(seconds * body.rate)):
            sample = simulation.state()
            time = sample.time
            controller.set_target(Target(time, wave(body, time + 1 / body.rate), 1 / body.rate))
            command = controller.update(MeasuredState(time, sample.q, sample.qd))
            assert command.action is not None
            rows.append(simulation.true_state()[0] - wave(body, time).q)
            simulation.step(command.action)
    return np.stack(rows)


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "kuka_iiwa"])
def test_computed_torque_with_the_exact_model_tracks_a_smooth_motion(arm: str) -> None:
    assert (
        np.abs(
            errors(arm, IDEAL_PLANT, engaged_controller(arm, IDEAL_PLANT, BulletOracle), 2.0)
        ).max()
        < 5e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["ur5", "ur5e", "kuka_iiwa", "dofbot"])
def test_exact_model_tracks_through_friction_and_delay(arm: str) -> None:
    """The remaining error is dry friction at reversals, largest in the light wrist."""
    plant = replace(load_plant(arm), payload=0.0)
    if arm == "dofbot":  # whose servos need their rotors
        error = errors(arm, plant, engaged_controller(arm, plant))
    else:
        plant = replace(plant, rotor_inertia=0.0)
        error = errors(arm, plant, engaged_controller(arm, plant, BulletOracle))
    assert np.sqrt((error**2).mean()) < 2e-3
    assert np.abs(error).max() < 8e-3


def test_action_delay_compensates_for_the_delay() -> None:
    plant = replace(IDEAL_PLANT, delay=0.016)
    rms = []
    for action_delay in (0.0, plant.delay + 0.5 / robot("ur5").rate):
        controller = ArmController(
            robot("ur5"), BulletOracle(robot("ur5"), plant), "N m", action_delay, NO_SLOW_IN
        )
        controller.engage(True)
        rms.append(np.sqrt(np.mean(errors("ur5", plant, controller, 2.0) ** 2)))
    assert rms[1] < 0.5 * rms[0]


def test_desired_acceleration_is_kept_until_an_action_takes_effect() -> None:
    """At 500 Hz an action takes effect three steps later."""
    arm, controller = robot("ur5e"), engaged_controller("ur5e", IDEAL_PLANT)
    for k in range(300):
        t = k / 500
        controller.set_target(Target(t, wave(arm, t + 0.002), 0.002))
        controller.update(MeasuredState(t, wave(arm, t).q, wave(arm, t).qd))
    assert controller.plan is not None
    ahead = controller.plan.at(t + 0.008)
    np.testing.assert_allclose(ahead.qdd, wave(arm, t + 0.008).qdd, atol=0.1)
    np.testing.assert_allclose(ahead.q, wave(arm, t + 0.008).q, atol=1e-5)


def test_exact_model_beats_constant_inertia_under_an_unknown_payload() -> None:
    plant = replace(IDEAL_PLANT, payload=0.3)
    rms = []
    for model in (
        BulletOracle(robot("ur5"), IDEAL_PLANT),
        ConstantInertiaModel(robot("ur5"), "N m"),
    ):
        controller = ArmController(
            robot("ur5"), model, "N m", 0.004, NO_SLOW_IN, monitor=ANY_ERROR
        )
        controller.engage(True)
        rms.append(np.sqrt(np.mean(errors("ur5", plant, controller, 2.0) ** 2)))
    assert rms[0] < 0.01 and rms[0] < 0.2 * rms[1]


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


def test_servo_arm_gets_the_future_plan_without_feedback() -> None:
    """The setpoint is the planned position when it takes effect, whatever the current error."""
    arm = robot("dofbot")
    controller = ComputedTorqueController(ConstantInertiaModel(arm, "rad"), "rad", 0.03)
    plan = hold_plan(arm.home, 0.0)
    for k, error in enumerate((0.0, 0.1, -0.2)):
        action = controller(plan, MeasuredState(k / 50, arm.home + error, np.empty(0)))
        np.testing.assert_allclose(action, arm.home, atol=1e-12)


def test_actions_of_an_unknown_unit_are_refused() -> None:
    with pytest.raises(ValueError, match="'A'"):
        ArmController(robot("ur5"), Broken(), "A", 0.0)

"""Tracking of the arm controller with exact and other models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plant_oracle import NO_SLOW_IN, BulletOracle, engaged_controller, robot, wave

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    ConstantInertiaModel,
    MeasuredState,
)
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.evaluation.closed_loop import ANY_ERROR
from invdyn_ros.robots.plant import IDEAL_PLANT, PlantConfig
from invdyn_ros.robots.registry import load_plant


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


def test_servo_arm_gets_the_future_plan_without_feedback() -> None:
    """The setpoint is the planned position when it takes effect, whatever the current error."""
    arm = robot("dofbot")
    controller = ComputedTorqueController(ConstantInertiaModel(arm, "rad"), "rad", 0.03)
    plan = hold_plan(arm.home, 0.0)
    for k, error in enumerate((0.0, 0.1, -0.2)):
        action = controller(plan, MeasuredState(k / 50, arm.home + error, np.empty(0)))
        np.testing.assert_allclose(action, arm.home, atol=1e-12)

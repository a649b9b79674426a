"""Gravity compensation: rest without drift, motion by a hand, and soft stops at the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plant_oracle import robot

from invdyn_ros.arms.pybullet_simulation import NO_PUSH, Simulation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.floating_controller import FloatingController
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.soft_stops import SoftStops
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.registry import load_plant


class Floating:
    """A simulated arm that floats by the masses of its URDF, and a hand that pushes it."""

    def __init__(self, arm, q=None):
        self.robot = robot(arm)
        model = urdf_model(self.robot, "N m")
        self.controller = FloatingController(self.robot, model, "N m", 0.008)
        self.simulation = Simulation(self.robot, load_plant(arm, payload=0.0))
        self.simulation.reset(0, q)
        self.controller.engage(True)

    def run(self, seconds, wrench=NO_PUSH):
        """Run with a force and torque (6,) on the tip; return positions (T, n) and reasons."""
        positions, reasons = [], set()
        for _ in range(round(seconds * self.robot.rate)):
            self.simulation.push = wrench
            _, q, qd, effort, _ = self.simulation.state()
            time = self.simulation.time
            command = self.controller.update(MeasuredState(time, q, qd, effort))
            reasons.add(command.reason)
            self.simulation.step(command.action)
            positions.append(self.simulation.true_state()[0])
        return np.array(positions), reasons

    def tool(self):
        return self.robot.forward_kinematics(self.simulation.true_state()[0])[:3, 3]


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_arm_stays_where_a_hand_leaves_it(arm):
    floating = Floating(arm)
    idle, reasons = floating.run(2.0)
    assert np.ptp(idle[len(idle) // 4 :], axis=0).max() < 5e-3 * 1.5 / 60, "drifts"
    assert reasons == {None}
    start = floating.tool()
    floating.run(0.6, np.array([0.0, 20.0, 0.0, 0.0, 0.0, 0.0]))
    released = floating.tool()
    assert released[1] - start[1] > 0.08, "does not give way"
    floating.run(1.0)
    end = floating.tool()
    assert np.linalg.norm(end - released) < 0.15, "goes on by itself"
    rest, _ = floating.run(1.0)
    assert np.ptp(rest, axis=0).max() < 5e-3 / 60, "drifts"
    assert floating.controller.engaged and not floating.simulation.contact_ticks


def test_hand_cannot_push_the_arm_through_a_joint_limit():
    arm = robot("kuka_iiwa")
    q = arm.home.copy()
    q[6] = arm.upper[6] - 0.4
    floating = Floating("kuka_iiwa", q)
    axis = arm.forward_kinematics(q)[:3, 2]
    positions, reasons = floating.run(1.5, np.append(np.zeros(3), 3.0 * axis))
    assert "soft stop: upper limit of lbr_iiwa_joint_7" in reasons
    assert positions[-1, 6] - q[6] > 0.2 and (positions < arm.upper).all()
    assert np.abs(np.diff(positions[-50:], axis=0)).max() < 1e-4, "the stop trembles"


def test_joint_of_a_short_range_is_free_between_its_stops():
    arm = robot("ur5")
    lower, upper = arm.lower.copy(), arm.upper.copy()
    lower[2], upper[2] = arm.home[2] + np.array([-0.07, 0.07])
    arm, safety = replace(arm, lower=lower, upper=upper), SafetyLimitsConfig()
    stops = SoftStops(arm, Limits.from_robot(arm, safety), None, safety)
    still, push = np.zeros(6), np.eye(6)[2]
    for k, step in enumerate((-0.02, 0.0, 0.02)):
        assert not stops(arm.home + step * push, still, 0.01 * k).torque.any()
    for sign in (-1, 1):
        stop = stops(arm.home + 0.055 * sign * push, still, 0.03)
        assert sign * stop.torque[2] < 0


def test_hand_cannot_push_the_arm_into_the_table():
    floating = Floating("ur5")
    _, reasons = floating.run(2.5, np.array([0.0, 0.0, -30.0, 0.0, 0.0, 0.0]))
    assert any("near table" in str(reason) for reason in reasons)
    assert not floating.simulation.contact_ticks and floating.controller.engaged


def test_push_on_the_tip_is_that_force():
    """The arm stands where its torques and the push are in equilibrium."""
    arm, wrench = robot("ur5"), np.array([30.0, -20.0, 10.0, 1.0, 2.0, -3.0])
    simulation, still = Simulation(arm, IDEAL_PLANT), np.zeros(6)
    torque = arm.inverse_dynamics(arm.home, still, still) - arm.jacobian(arm.home).T @ wrench
    for _ in range(10):
        simulation.push = wrench
        simulation.step(torque)
    assert np.abs(simulation.true_state()[1]).max() < 2e-3


def test_arm_of_position_servos_does_not_float():
    arm = robot("dofbot")
    with pytest.raises(ValueError, match="the actions are in 'rad'"):
        FloatingController(arm, urdf_model(arm, "rad"), "rad", 0.0)

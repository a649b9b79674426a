"""Exact inverse dynamics of the simulated plant, and a controller with it, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.typing import Array

robot = cache(load_robot)
NO_SLOW_IN = SafetyLimitsConfig(slow_in_time=0.0)
SLOW = 0.02  # [rad/s] velocity scale of the smoothed dry friction


@dataclass
class Oracle:
    """Inverse of a plant, computed from its parameters."""

    arm: Robot
    plant: PlantConfig
    n_obs_steps: int = 1

    def rigid(self, q: Array, qd: Array, qdd: Array) -> Array:
        return self.arm.inverse_dynamics(q, qd, qdd) + self.plant.rotor_inertia * (
            self.arm.effort * qdd
        )

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        q, qd, qdd = np.split(motion[0, -1], 3)
        plant, effort = self.plant, self.arm.effort
        friction = plant.coulomb * np.tanh(qd / SLOW) + plant.viscous * qd
        torque = self.rigid(q, qd, qdd) + effort * friction
        if self.arm.action_unit == "rad":
            torque = q + (torque / effort + plant.servo_damping * qd) / plant.servo_stiffness
        return PredictedAction(torque[None, None], None)


class BulletOracle(Oracle):
    """Oracle with the rigid-body dynamics of PyBullet, which include the open fingers."""

    def __init__(self, arm: Robot, plant: PlantConfig) -> None:
        super().__init__(arm, plant)
        self.simulation = Simulation(arm, plant)

    def rigid(self, q: Array, qd: Array, qdd: Array) -> Array:
        body, still = self.simulation.body, [0.0] * len(self.simulation.fingers)
        fingers = [self.simulation.commanded_opening / 2] * len(still)
        motion = ([*q, *fingers], [*qd, *still], [*qdd, *still])
        return np.array(self.simulation.client.calculateInverseDynamics(body, *motion))[: q.size]


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

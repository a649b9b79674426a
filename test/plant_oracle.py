"""Exact inverse dynamics of the simulated plant, for tests of control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

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

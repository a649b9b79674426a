"""Models that know a simulated arm: the inverse of its plant, for tests of control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot

SLOW = 0.02  # [rad/s] over which the oracle's dry friction changes sign


@dataclass
class Oracle:
    """The inverse of a plant, from its own figures."""

    arm: Robot
    plant: PlantConfig
    n_obs_steps: int = 1

    def rigid(self, q: np.ndarray, qd: np.ndarray, qdd: np.ndarray) -> np.ndarray:
        return self.arm.inverse_dynamics(q, qd, qdd) + self.plant.rotor_inertia * (
            self.arm.effort * qdd
        )

    def predict(self, motion: torch.Tensor, time: torch.Tensor) -> Prediction:
        q, qd, qdd = np.split(motion[0, -1].numpy(), 3)
        plant, effort = self.plant, self.arm.effort
        friction = plant.coulomb * np.tanh(qd / SLOW) + plant.viscous * qd
        torque = self.rigid(q, qd, qdd) + effort * friction
        if self.arm.action_unit == "rad":
            torque = q + (torque / effort + plant.servo_damping * qd) / plant.servo_stiffness
        return Prediction(torch.from_numpy(torque)[None, None], None)


class Twin(Oracle):
    """The rigid body of the simulated arm itself, open fingers included: Bullet's own inverse."""

    def __init__(self, arm: Robot, plant: PlantConfig) -> None:
        super().__init__(arm, plant)
        self.simulation = Simulation(arm, plant)

    def rigid(self, q: np.ndarray, qd: np.ndarray, qdd: np.ndarray) -> np.ndarray:
        body, none = self.simulation.body, [0.0] * len(self.simulation.fingers)
        open_ = [self.simulation.opening / 2] * len(none)
        motion = ([*q, *open_], [*qd, *none], [*qdd, *none])
        return np.array(self.simulation.client.calculateInverseDynamics(body, *motion))[: q.size]

"""Dry friction of the simulated joints: Coulomb, Stribeck and load-dependent."""

from __future__ import annotations

from typing import Any

import numpy as np

from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class JointFriction:
    """Largest dry friction of each joint in the next physics step.

    A motor that stops the joint with a limited torque, solved implicitly, models dry friction.
    With the Coulomb friction c, its rise s and velocity scale v_s, and the load m, that limit is
    c (1 + s exp(-(qd / v_s)^2)) + m |torque to the links| (Hamon, Gautier, Garrec 2010). The
    torque to the links is that of the motor less friction and less what turns the rotor.
    """

    def __init__(self, robot: Robot, plant: PlantConfig) -> None:
        """Start an episode in which the joints rest."""
        self.plant, effort = plant, robot.effort
        self.coulomb = plant.coulomb * effort  # (n,) [N m]
        self.varies = bool(plant.coulomb * plant.stribeck or plant.load_friction)
        self._viscous = plant.viscous * effort  # (n,) [N m s/rad]
        self._rotor = plant.rotor_inertia * effort * plant.physics_rate  # (n,) [kg m2/s]
        self._qd: Array = np.zeros(robot.n)

    def update(self, torques: list[float], states: tuple[tuple[Any, ...], ...]) -> Array:
        """Return the limits (n,) [N m].

        Args:
            torques: of the drives in the last physics step [N m].
            states: of the joints after it, as PyBullet returns them.
        """
        plant = self.plant
        qd, friction = np.array([(state[1], state[3]) for state in states]).T
        rotor_torque = self._rotor * (qd - self._qd)
        self._qd = qd
        load = np.asarray(torques) + friction - self._viscous * qd - rotor_torque
        rise = plant.stribeck * np.exp(-np.square(qd / plant.stribeck_velocity))
        limits: Array = self.coulomb * (1 + rise) + plant.load_friction * np.abs(load)
        return limits

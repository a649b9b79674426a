"""Sensors of the simulated joints: play of the gears, noise and steps of the encoders."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.typing import Array


class JointSensors:
    """Measured positions and velocities of an episode."""

    def __init__(self, plant: PlantConfig, start: Array, random: np.random.Generator) -> None:
        """Start an episode.

        Args:
            plant: noise, steps and play.
            start: (n,) position of the joints [rad].
            random: source of the noise.
        """
        self.plant, self._random = plant, random
        self._encoder_position = start

    def measure(self, q: Array, qd: Array) -> tuple[Array, Array]:
        """Return the measured position (n,) [rad] and velocity [rad/s], empty if there is none.

        Args:
            q: (n,) true position [rad].
            qd: (n,) true velocity [rad/s].
        """
        plant = self.plant
        if plant.backlash:  # the encoder follows the joint only beyond the play
            play = plant.backlash / 2
            q = self._encoder_position = np.minimum(
                np.maximum(self._encoder_position, q - play), q + play
            )
        noise = self._random.standard_normal((2, q.size))
        q = q + plant.position_noise * noise[0]
        if plant.encoder_step:
            q = np.rint(q / plant.encoder_step) * plant.encoder_step
        return q, qd + plant.velocity_noise * noise[1] if plant.velocity_noise >= 0 else np.empty(
            0
        )

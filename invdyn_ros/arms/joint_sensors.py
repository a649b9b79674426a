"""Sensors of the simulated joints: play of the gears, noise and steps of the encoders."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.typing import Array


class JointSensors:
    """Measured positions and velocities of an episode."""

    def __init__(self, start: Array, random: np.random.Generator) -> None:
        """Start an episode at positions (n,) [rad], with a source of noise."""
        self._random, self._encoder_position = random, start

    def measure(self, q: Array, qd: Array, plant: PlantConfig) -> tuple[Array, Array]:
        """Return the measured position (n,) [rad] and velocity [rad/s], empty if there is none.

        Args:
            q: (n,) true position [rad].
            qd: (n,) true velocity [rad/s].
            plant: noise, steps and play, which may change within an episode.
        """
        if plant.backlash:  # the encoder follows the joint only beyond the play
            play = plant.backlash / 2
            q = self._encoder_position = np.minimum(
                np.maximum(self._encoder_position, q - play), q + play
            )
        noise = self._random.standard_normal((2, q.size))
        q = q + plant.position_noise * noise[0]
        if plant.encoder_step:
            q = np.rint(q / plant.encoder_step) * plant.encoder_step
        if plant.velocity_noise < 0:
            return q, np.empty(0)
        return q, qd + plant.velocity_noise * noise[1]

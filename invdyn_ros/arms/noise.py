"""How far a simulated scene strays from its description: camera, light, block.

Enters: a scene and a random generator. Leaves: the scene as it really is in one episode.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.scene import Scene


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what an episode draws anew; zero switches a term off.

    Attributes:
        camera_position: hand-eye calibration error, each axis [m].
        camera_rotation: hand-eye calibration error, each axis [rad].
        light: direction to the light, each axis of a unit vector [-].
        pixel: image sensor noise, times the scene's own [-].
        mass: of the block, relative [-].
        friction: of the block, relative [-].
        latency: from exposure to use of an image, on top of the computation [s].
    """

    camera_position: float = 0.0
    camera_rotation: float = 0.0
    light: float = 0.0
    pixel: float = 0.0
    mass: float = 0.0
    friction: float = 0.0
    latency: float = 0.0


# Magnitudes: hand-eye error 2 to 10 mm, latency to 80 ms, friction 10% and more (robosuite).
NOISES = {
    "none": Noise(),
    "default": Noise(0.002, 0.003, 0.2, 1.0, 0.1, 0.1, 0.04),
    "hard": Noise(0.005, 0.01, 0.5, 2.0, 0.3, 0.2, 0.08),
}


def load_noise(name: str) -> Noise:
    """Return a named noise level.

    Raises:
        ValueError: there is no such level; names the known ones.
    """
    if name not in NOISES:
        raise ValueError(f"no noise '{name}'; known levels: {list(NOISES)}")
    return NOISES[name]


def stray(scene: Scene, noise: Noise, seed: int, episode: int) -> Scene:
    """Return the scene of one episode; the same seed and episode give the same scene."""
    random = np.random.default_rng([seed, episode])
    draws = random.standard_normal(11)
    error = np.eye(4)
    error[:3, :3] = Rotation.from_rotvec(noise.camera_rotation * draws[:3]).as_matrix()
    error[:3, 3] = noise.camera_position * draws[3:6]
    camera = replace(scene.camera, T_base_camera=scene.camera.T_base_camera @ error)
    light = np.asarray(scene.light) / np.linalg.norm(scene.light) + noise.light * draws[6:9]
    # Clipped at two and a half deviations: mass and friction stay positive.
    relative = np.clip(draws[9:], -2.5, 2.5)
    return replace(
        scene,
        camera=camera,
        light=tuple(light.tolist()),
        pixel_noise=scene.pixel_noise * noise.pixel,
        block_mass=scene.block_mass * float(1 + noise.mass * relative[0]),
        friction=scene.friction * float(1 + noise.friction * relative[1]),
    )

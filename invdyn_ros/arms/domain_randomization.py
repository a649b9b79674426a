"""Domain randomization of simulated episodes: camera, light, block, arm and latency.

Each function returns a randomized copy of a scene or a plant for a seed and an episode. Each draws
from its own random stream, so switching off one term does not change the others.
"""

from dataclasses import dataclass, replace

import numpy as np
from pydantic import NonNegativeFloat

from invdyn_ros.config import Validated
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

MAX_DEVIATION = 2.5
"""Clipping of random numbers [standard deviations]; keeps masses and focal lengths positive."""
PLANT_STREAM, LATENCY_STREAM, CAMERA_STREAM = 1, 2, 3  # random streams besides that of the scene
GOAL_STREAM = 5  # and another one; 4 is that of the simulated detector
MIN_GOAL_DISTANCE = 2.0  # distance of a goal from the initial position of the block, over its size


@dataclass(frozen=True)
class DomainRandomization(Validated):
    """Standard deviations of the quantities randomized in each episode; zero switches one off.

    Attributes:
        camera_position: hand-eye calibration error, per axis [m].
        camera_rotation: hand-eye calibration error, per axis [rad].
        light: direction to the light, per axis of a unit vector [-].
        pixel: image sensor noise as a multiple of the scene's [-].
        block_mass: mass of the block, relative [-].
        block_friction: friction coefficient of the block, relative [-].
        latency: maximum time from exposure to use of an image, besides the computation; it is
            drawn uniformly for each episode [s].
        payload: unknown mass at the tool as a multiple of the block mass [-].
        joint_friction: dry and viscous friction of the joints, relative [-].
        backlash: play between joint and encoder, not randomized [encoder steps].
        servo_step: quantisation of the setpoints of position servos, not randomized [rad].
        sensor: noise of measured positions and velocities as a multiple of the plant's [-].
        marker: corner error of the simulated marker detector as a multiple of its default [-].
        view_position: position of an uncalibrated camera, per axis [m].
        view_rotation: orientation of an uncalibrated camera, per axis [rad].
        view_angle: field of view of an uncalibrated camera [rad].
        texture: colours of table, block and wall in its images, as a fraction of white [-].
    """

    camera_position: NonNegativeFloat = 0.0
    camera_rotation: NonNegativeFloat = 0.0
    light: NonNegativeFloat = 0.0
    pixel: NonNegativeFloat = 0.0
    block_mass: NonNegativeFloat = 0.0
    block_friction: NonNegativeFloat = 0.0
    latency: NonNegativeFloat = 0.0
    payload: NonNegativeFloat = 0.0
    joint_friction: NonNegativeFloat = 0.0
    backlash: NonNegativeFloat = 0.0
    servo_step: NonNegativeFloat = 0.0
    sensor: NonNegativeFloat = 0.0
    marker: NonNegativeFloat = 0.0
    view_position: NonNegativeFloat = 0.0
    view_rotation: NonNegativeFloat = 0.0
    view_angle: NonNegativeFloat = 0.0
    texture: NonNegativeFloat = 0.0

    def scaled(self, factor: float) -> "DomainRandomization":
        """Return a copy with all terms multiplied by a non-negative factor."""
        return replace(self, **{name: factor * term for name, term in vars(self).items()})


# Magnitudes: hand-eye error 2 to 10 mm, latency 0 to 80 ms, servo steps of a degree; views as
# robosuite randomizes them (1 cm, 0.087 rad, 5 degrees), friction by 10% and more.
RANDOMIZATION_LEVELS = {
    "none": DomainRandomization(),
    "default": DomainRandomization(
        camera_position=0.002,
        camera_rotation=0.003,
        light=0.2,
        pixel=1.0,
        block_mass=0.1,
        block_friction=0.1,
        latency=0.08,
        payload=0.5,
        joint_friction=0.1,
        backlash=3.0,
        sensor=1.0,
        marker=1.0,
        view_position=0.01,
        view_rotation=0.03,
        view_angle=0.03,
        texture=0.1,
    ),
    "hard": DomainRandomization(
        camera_position=0.01,
        camera_rotation=0.02,
        light=0.5,
        pixel=2.0,
        block_mass=0.3,
        block_friction=0.2,
        latency=0.16,
        payload=2.0,
        joint_friction=0.2,
        backlash=6.0,
        servo_step=0.0175,
        sensor=2.0,
        marker=2.0,
        view_position=0.02,
        view_rotation=0.087,
        view_angle=0.087,
        texture=0.25,
    ),
}


def load_randomization(name: str) -> DomainRandomization:
    """Return a domain randomization level by name, the option `noise` of all commands.

    Raises:
        ValueError: there is no such level; the message lists the known ones.
    """
    if name not in RANDOMIZATION_LEVELS:
        levels = ", ".join(RANDOMIZATION_LEVELS)
        raise ValueError(f"noise is '{name}'; the domain randomization levels are {levels}")
    return RANDOMIZATION_LEVELS[name]


def randomize_scene(
    scene: Scene, randomization: DomainRandomization, seed: int, episode: int
) -> Scene:
    """Return the scene of one episode.

    Args:
        scene: nominal scene.
        randomization: standard deviations.
        seed: seed of the run.
        episode: number of the episode.
    """
    rng = np.random.default_rng([seed, episode])
    draws = rng.standard_normal(11)
    camera = replace(
        scene.camera,
        T_base_camera=scene.camera.T_base_camera
        @ _pose_offset(
            randomization.camera_position * draws[3:6], randomization.camera_rotation * draws[:3]
        ),
    )
    light = (
        np.asarray(scene.light) / np.linalg.norm(scene.light) + randomization.light * draws[6:9]
    )
    relative = np.clip(draws[9:], -MAX_DEVIATION, MAX_DEVIATION)
    return replace(
        scene,
        camera=camera,
        light=tuple(light.tolist()),
        pixel_noise=scene.pixel_noise * randomization.pixel,
        block_mass=scene.block_mass * float(1 + randomization.block_mass * relative[0]),
        friction=scene.friction * float(1 + randomization.block_friction * relative[1]),
    )


def sample_goal(scene: Scene, seed: int, episode: int, block: Array) -> tuple[float, float, float]:
    """Sample the goal of one episode: as far around the arm as area and nominal goal reach.

    Args:
        scene: nominal scene.
        seed: seed of the run.
        episode: number of the episode.
        block: (3,) position of the block's centre, which the goal is not near [m].
    """
    rng = _stream(seed, episode, GOAL_STREAM)
    x, y, height = scene.goal
    side = max(abs(y), *np.abs(scene.area_y))
    low, high = min(x, scene.area_x[0]), max(x, scene.area_x[1])
    reach = max(np.hypot(x, y), np.hypot(scene.area_x[1], np.abs(scene.area_y).max()))
    while True:
        goal = np.array([rng.uniform(low, high), rng.uniform(-side, side)])
        is_far = np.linalg.norm(goal - block[:2]) > MIN_GOAL_DISTANCE * scene.block_size
        if is_far and np.linalg.norm(goal) <= reach:
            return float(goal[0]), float(goal[1]), height


def randomize_plant(
    plant: PlantConfig,
    randomization: DomainRandomization,
    seed: int,
    episode: int,
    block_mass: float,
) -> PlantConfig:
    """Return the plant of one episode.

    Args:
        plant: nominal plant.
        randomization: standard deviations.
        seed: seed of the run.
        episode: number of the episode.
        block_mass: mass of the block, the unit of the unknown payload [kg].
    """
    draws = _stream(seed, episode, PLANT_STREAM).standard_normal(3)
    draws = draws.clip(-MAX_DEVIATION, MAX_DEVIATION)
    friction = np.maximum(1 + randomization.joint_friction * draws[:2], 0.0)
    return replace(
        with_sensor_noise(plant, randomization),
        coulomb=plant.coulomb * float(friction[0]),
        viscous=plant.viscous * float(friction[1]),
        payload=plant.payload + randomization.payload * block_mass * abs(float(draws[2])),
        backlash=randomization.backlash * plant.encoder_step,
        servo_step=randomization.servo_step,
    )


def with_sensor_noise(plant: PlantConfig, randomization: DomainRandomization) -> PlantConfig:
    """Return a plant whose joint sensor noise is scaled to a randomization level."""
    measured = plant.velocity_noise >= 0
    return replace(
        plant,
        position_noise=plant.position_noise * randomization.sensor,
        velocity_noise=plant.velocity_noise * (randomization.sensor if measured else 1),
    )


def randomize_camera(
    scene: Scene, randomization: DomainRandomization, seed: int, episode: int, image_size: int
) -> Scene:
    """Return the scene of one episode with an uncalibrated camera and unmarked blocks.

    Args:
        scene: scene of this episode; its camera has the mean pose, and the horizontal field of
            view of the square image.
        randomization: standard deviations of pose, field of view and colours.
        seed: seed of the run.
        episode: number of the episode.
        image_size: width and height of the image [px].
    """
    rng = _stream(seed, episode, CAMERA_STREAM)
    draws = rng.standard_normal(7).clip(-MAX_DEVIATION, MAX_DEVIATION)
    shift = _pose_offset(
        randomization.view_position * draws[:3], randomization.view_rotation * draws[3:6]
    )
    angle = 2 * np.arctan(scene.camera.width / (2 * scene.camera.focal))
    focal = image_size / (2 * np.tan((angle + randomization.view_angle * draws[6]) / 2))
    camera = PinholeCamera(
        scene.camera.T_base_camera @ shift, float(focal), image_size, image_size
    )
    color_shifts = 255 * randomization.texture * rng.standard_normal((4, 3))
    return replace(
        scene,
        camera=camera,
        marked=False,
        table_color=_shift_color(scene.table_color, color_shifts[0]),
        area_color=_shift_color(scene.area_color, color_shifts[1]),
        block_color=_shift_color(scene.block_color, color_shifts[2]),
        wall_color=_shift_color(scene.wall_color, color_shifts[3]),
    )


def _shift_color(color: tuple[float, float, float], change: Array) -> tuple[float, float, float]:
    red, green, blue = np.clip(np.add(color, change), 0.0, 255.0).tolist()
    return red, green, blue


def sample_latency(randomization: DomainRandomization, seed: int, episode: int) -> float:
    """Return the latency from exposure to use of the images of one episode [s].

    Args:
        randomization: level that bounds the latency.
        seed: seed of the run.
        episode: number of the episode.
    """
    return float(randomization.latency * _stream(seed, episode, LATENCY_STREAM).random())


def _stream(seed: int, episode: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, episode, stream])


def _pose_offset(position: Array, rotation: Array) -> Array:
    """Return the transform (4, 4) of a translation (3,) [m] and a rotation vector (3,) [rad]."""
    from scipy.spatial.transform import Rotation  # slow to import; only a scene needs it

    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec(rotation).as_matrix(), position
    return T

"""A simulated arm before a camera: an arm enters; videos of it with its joint commands leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.config import Fraction, Validated
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.sources.excitation import Excitation, ExcitationConfig
from invdyn_ros.sources.simulation import simulate_episode
from invdyn_ros.sources.source import (
    DEFAULT_ARM,
    Collection,
    Source,
    collect_episodes,
    num_workers,
)
from invdyn_ros.workers import parallel_map

CAMERA_POSITION, CAMERA_TARGET = (
    (0.95, -0.75, 1.15),
    (0.36, 0.0, 0.52),
)  # [m] camera and its middle, base frame
SPEED_SCALES = (
    0.6,
    1.0,
)  # shares of the speed; in slow motion an arm sticks, which no picture shows
FOCAL_LENGTH = 950.0  # [px] of 640: an opening of 37 degrees
UNIT = "rad/s"


@dataclass(frozen=True)
class RenderedVideoConfig(Validated):
    """How the arm moves, and how it is filmed."""

    motions: PositiveInt = 40
    """Motions of the arm; the videos of one are never split."""
    views: PositiveInt = 4
    """Videos of each motion, each with a camera, light and colours of its own."""
    seconds: PositiveFloat = 10.0
    """Length of a video [s]."""
    rate: PositiveFloat = 2.5
    """Pictures per second [Hz]; between faster ones an arm moves by parts of a pixel."""
    image_size: Annotated[int, Field(ge=16)] = 112
    """Side of a picture [px]."""
    max_amplitude: PositiveFloat = 0.6
    """Farthest that a joint goes from its home position [rad]."""
    velocity_fraction: Fraction = 0.5
    """Share of the velocity limits that is used."""
    simulate_dynamics: bool = True
    """The arm follows with its dynamics; else it is where it is commanded, which takes a sixth of
    the time to make."""
    seed: int = 0
    """Of motion, plant and camera."""


def render_videos(
    robot: Robot, config: RenderedVideoConfig, workers: int = 1
) -> Iterator[Trajectory]:
    """Yield the videos of each motion in turn, the same ones from any number of workers.

    The action of a picture is the joint velocity [rad/s] that was commanded since the one before,
    on average; in the first picture the arm rests.

    Raises:
        ValueError: less than one worker.
    """
    run = partial(_render_motion, replace(robot), config)  # without its engine
    for videos in parallel_map(run, range(config.motions), workers):
        yield from videos


def _render_motion(robot: Robot, config: RenderedVideoConfig, episode: int) -> list[Trajectory]:
    motion = _draw_motion(robot, config, episode)
    rows = int(np.floor((motion.duration - 1 / robot.rate) * config.rate + 1e-6)) + 1
    wanted = _commanded_trajectory(robot, motion, np.arange(rows) / config.rate)
    seed = config.seed * 100_003 + episode
    seen = (
        _simulated_trajectory(robot, motion, seed, wanted.time)
        if config.simulate_dynamics
        else wanted
    )
    change = np.diff(wanted.position, axis=0) / np.diff(wanted.time)[:, None]
    action = np.concatenate([np.zeros((1, robot.n)), change])
    name = f"{robot.name}_{episode:04d}"
    known = replace(seen, action=action, action_unit=UNIT, source=name)
    numbers = range(episode * config.views, (episode + 1) * config.views)
    places = _keypoints(robot, seen.position)
    films = [_render_view(robot, config, k, seen.position, places) for k in numbers]
    return [replace(known, frames=frames, points=points) for frames, points in films]


def _commanded_trajectory(robot: Robot, motion: Excitation, time: np.ndarray) -> Trajectory:
    """Return the commanded motion at times (T,) [s], without actions."""
    q, qd, qdd = motion.motion(time)
    return Trajectory(time, q, qd, qdd, np.empty((0, robot.n)), robot.joint_names, UNIT)


def _simulated_trajectory(
    robot: Robot, motion: Excitation, seed: int, time: np.ndarray
) -> Trajectory:
    """Return how the simulated arm follows, at times (T,) [s]."""
    moved = simulate_episode(robot, load_plant(robot.name), robot.action_unit, (motion, seed))
    return moved.interpolate(np.minimum(time, moved.time[-1]))


def _draw_motion(robot: Robot, config: RenderedVideoConfig, episode: int) -> Excitation:
    """Draw a motion around the home position, within the limits of the joints."""
    random = np.random.default_rng([config.seed, episode])
    how = ExcitationConfig(
        episode_seconds=config.seconds,
        range_fraction=1.0,
        max_amplitude=config.max_amplitude,
        velocity_fraction=config.velocity_fraction,
        candidates=1,
    )
    motion = Excitation(robot, how, random, random.uniform(*SPEED_SCALES))
    middle = motion.center - (robot.upper + robot.lower) / 2 + robot.home
    motion.center = np.clip(
        middle, robot.lower + config.max_amplitude, robot.upper - config.max_amplitude
    )
    return motion


def _keypoints(robot: Robot, q: np.ndarray) -> np.ndarray:
    """Return where the joints, both fingers and the hand are at q (T, n), (T, n + 3, 3) [m]."""
    model = robot.model()
    bodies = [model.joint(name).bodyid[0] for name in robot.joint_names]
    links = [model.body(body).name for body in bodies]
    joints = np.array([[robot.forward_kinematics(row, k)[:3, 3] for k in links] for row in q])
    tip = np.stack([robot.forward_kinematics(row) for row in q])
    middle, aside = tip[:, None, :3, 3], _opening(robot) / 2 * tip[:, None, :3, 1]
    hand = (joints[:, -1:] + middle) / 2
    return np.concatenate([joints, middle + aside, middle - aside, hand], axis=1)


def _opening(robot: Robot) -> float:
    """Return how far the gripper is open in all pictures [m]; it opens along the tip's y axis."""
    return robot.gripper.max_opening if robot.gripper else 0.0


def _render_view(
    robot: Robot, config: RenderedVideoConfig, number: int, q: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Render the arm at positions (T, n) [rad] with camera, light and colours of its own.

    Returns:
        The pictures, and where `places` (T, L, 3) [m] are in them, (T, L, 2) in shares.
    """
    scene = Scene(
        PinholeCamera.look_at(CAMERA_POSITION, CAMERA_TARGET, FOCAL_LENGTH), blocks=0, marked=False
    )
    noise = RANDOMIZATION_LEVELS["default"]
    scene = randomize_camera(
        randomize_scene(scene, noise, config.seed, number),
        noise,
        config.seed,
        number,
        config.image_size,
    )
    with SceneRenderer(robot, scene, config.seed * 100_003 + number) as camera:
        none = np.empty((0, 4, 4))
        frames = np.stack([camera.render(row, _opening(robot), none) for row in q])
    return frames, (scene.camera.project(places) + 0.5) / config.image_size


@dataclass(frozen=True)
class RenderedVideoSource(Source):
    """Render videos of the simulated arm; the actions are commanded joint velocities."""

    arm: str = DEFAULT_ARM
    """Name of the arm."""
    workers: int | None = None
    """Processes that simulate; default: one per core. The data do not depend on it."""
    video: RenderedVideoConfig = field(default_factory=RenderedVideoConfig)
    """Motion of the arm, and rendering."""

    def collect(self) -> Collection:
        """Render all videos."""
        config = self.video
        episodes = render_videos(load_robot(self.arm), config, num_workers(self.workers))
        return collect_episodes(episodes, config.motions * config.views, self.arm)

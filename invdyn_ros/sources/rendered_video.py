"""Rendered videos of the simulated arm, with its joint commands."""

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
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig, ExcitationTrajectory
from invdyn_ros.sources.simulation import simulate_episode
from invdyn_ros.sources.source import (
    DEFAULT_ARM,
    Collection,
    Source,
    collect_episodes,
)
from invdyn_ros.workers import JobExecutor, WorkerOptions, parallel_map

CAMERA_POSITION, CAMERA_TARGET = (0.95, -0.75, 1.15), (0.36, 0.0, 0.52)  # [m] in the base frame
SPEED_SCALES = (0.6, 1.0)  # range; slow motion causes stiction, which images do not show
FOCAL_LENGTH = 950.0  # [px] for a width of 640 px: a field of view of 37 degrees
UNIT = "rad/s"


@dataclass(frozen=True)
class RenderedVideoConfig(Validated):
    """Motion of the arm, and rendering."""

    motions: PositiveInt = 40
    """Number of motions; the videos of one motion are in the same split."""
    views: PositiveInt = 4
    """Videos per motion, each with another camera pose, light and colors."""
    seconds: PositiveFloat = 10.0
    """Duration of a video [s]."""
    rate: PositiveFloat = 2.5
    """Images per second [Hz]; at a higher rate the arm moves by less than a pixel per image."""
    image_size: Annotated[int, Field(ge=16)] = 112
    """Width and height of an image [px]."""
    max_amplitude: PositiveFloat = 0.6
    """Largest distance of a joint from its home position [rad]."""
    velocity_fraction: Fraction = 0.5
    """Fraction of the velocity limits."""
    simulate_dynamics: bool = True
    """Simulate the dynamics of the arm; otherwise it is exactly at the commanded positions, which
    takes a sixth of the time."""
    seed: int = 0
    """Random seed of motion, plant and camera."""


def render_videos(
    robot: Robot, config: RenderedVideoConfig, executor: JobExecutor | None = None
) -> Iterator[Trajectory]:
    """Yield the videos of each motion; they do not depend on the executor.

    The action of an image is the mean commanded joint velocity [rad/s] since the previous image;
    in the first image the arm is at rest.

    Args:
        robot: the arm.
        config: motion and rendering.
        executor: runs the jobs; None: this process.
    """
    # the copy has no MuJoCo model, which cannot be pickled
    run = partial(_render_motion, replace(robot), config)
    for videos in parallel_map(run, range(config.motions), executor):
        yield from videos


def _render_motion(robot: Robot, config: RenderedVideoConfig, episode: int) -> list[Trajectory]:
    motion = _draw_motion(robot, config, episode)
    rows = int(np.floor((motion.duration - 1 / robot.rate) * config.rate + 1e-6)) + 1
    commanded = _commanded_trajectory(robot, motion, np.arange(rows) / config.rate)
    seed = config.seed * 100_003 + episode
    measured = (
        _simulated_trajectory(robot, motion, seed, commanded.time)
        if config.simulate_dynamics
        else commanded
    )
    change = np.diff(commanded.position, axis=0) / np.diff(commanded.time)[:, None]
    action = np.concatenate([np.zeros((1, robot.n)), change])
    name = f"{robot.name}_{episode:04d}"
    trajectory = replace(measured, action=action, action_unit=UNIT, recording=name)
    numbers = range(episode * config.views, (episode + 1) * config.views)
    keypoints = _keypoints(robot, measured.position)
    views = [_render_view(robot, config, k, measured.position, keypoints) for k in numbers]
    return [replace(trajectory, frames=frames, points=points) for frames, points in views]


def _commanded_trajectory(
    robot: Robot, motion: ExcitationTrajectory, time: np.ndarray
) -> Trajectory:
    """Return the commanded motion at times (T,) [s], without actions."""
    q, qd, qdd = motion.motion(time)
    return Trajectory(time, q, qd, qdd, np.empty((0, robot.n)), robot.joint_names, UNIT)


def _simulated_trajectory(
    robot: Robot, motion: ExcitationTrajectory, seed: int, time: np.ndarray
) -> Trajectory:
    """Return the motion of the simulated arm at times (T,) [s]."""
    simulated = simulate_episode(robot, load_plant(robot.name), robot.action_unit, (motion, seed))
    return simulated.interpolate(np.minimum(time, simulated.time[-1]))


def _draw_motion(robot: Robot, config: RenderedVideoConfig, episode: int) -> ExcitationTrajectory:
    """Draw a motion around the home position, within the limits of the joints."""
    random = np.random.default_rng([config.seed, episode])
    excitation_config = ExcitationConfig(
        episode_seconds=config.seconds,
        range_fraction=1.0,
        max_amplitude=config.max_amplitude,
        velocity_fraction=config.velocity_fraction,
        candidates=1,
    )
    motion = ExcitationTrajectory(robot, excitation_config, random, random.uniform(*SPEED_SCALES))
    middle = motion.center - (robot.upper + robot.lower) / 2 + robot.home
    motion.center = np.clip(
        middle, robot.lower + config.max_amplitude, robot.upper - config.max_amplitude
    )
    return motion


def _keypoints(robot: Robot, q: np.ndarray) -> np.ndarray:
    """Return positions (T, n + 3, 3) [m] of joints, both fingers and hand at q (T, n)."""
    model = robot.model()
    bodies = [model.joint(name).bodyid[0] for name in robot.joint_names]
    links = [model.body(body).name for body in bodies]
    joints = np.array([[robot.forward_kinematics(row, k)[:3, 3] for k in links] for row in q])
    tip = np.stack([robot.forward_kinematics(row) for row in q])
    middle, offset = tip[:, None, :3, 3], _opening(robot) / 2 * tip[:, None, :3, 1]
    hand = (joints[:, -1:] + middle) / 2
    return np.concatenate([joints, middle + offset, middle - offset, hand], axis=1)


def _opening(robot: Robot) -> float:
    """Return the opening of the gripper in all images [m], along the y axis of the tip."""
    return robot.gripper.max_opening if robot.gripper else 0.0


def _render_view(
    robot: Robot, config: RenderedVideoConfig, number: int, q: np.ndarray, keypoints: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Render the arm with random camera pose, light and colors.

    Args:
        robot: the arm.
        config: image size and seed.
        number: of the video, for the random numbers.
        q: joint positions (T, n) [rad].
        keypoints: (T, L, 3) in the base frame [m].

    Returns:
        Images (T, H, W, 3) uint8, and the keypoints in them (T, L, 2), as fractions of the size.
    """
    scene = Scene(
        PinholeCamera.look_at(CAMERA_POSITION, CAMERA_TARGET, FOCAL_LENGTH),
        num_blocks=0,
        marked=False,
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
    return frames, (scene.camera.project(keypoints) + 0.5) / config.image_size


@dataclass(frozen=True)
class RenderedVideoSource(WorkerOptions, Source):
    """Render videos of the simulated arm; the actions are commanded joint velocities."""

    arm: str = DEFAULT_ARM
    """Name of the arm, or FILE.yaml of an arm of a user."""
    video: RenderedVideoConfig = field(default_factory=RenderedVideoConfig)
    """Motion of the arm, and rendering."""

    def collect(self) -> Collection:
        """Render all videos."""
        config = self.video
        with self.executor() as executor:
            episodes = render_videos(load_robot(self.arm), config, executor)
            return collect_episodes(episodes, config.motions * config.views, self.arm)

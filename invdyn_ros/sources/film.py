"""A simulated arm before a camera: an arm enters; videos of it with its joint commands leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np

from invdyn_ros.arms.camera import Camera
from invdyn_ros.arms.noise import NOISES, stray, view
from invdyn_ros.arms.plant import load_plant
from invdyn_ros.arms.rendering import SceneCamera
from invdyn_ros.arms.scene import Scene
from invdyn_ros.config import Checked, Count, Positive, Share, at_least
from invdyn_ros.pool import in_order
from invdyn_ros.robot import Robot
from invdyn_ros.sources.excitation import Excitation, ExcitationConfig
from invdyn_ros.sources.simulation import move
from invdyn_ros.trajectory import Trajectory

EYE, LOOKED_AT = (0.95, -0.75, 1.15), (0.36, 0.0, 0.52)  # [m] camera and its middle, base frame
PACES = (0.6, 1.0)  # shares of the speed; in slow motion an arm sticks, which no picture shows
FOCAL = 950.0  # [px] of 640: an opening of 37 degrees
UNIT = "rad/s"


@dataclass(frozen=True)
class FilmConfig(Checked):
    """How the arm moves, and how it is filmed."""

    motions: Count = 40
    """Motions of the arm; the videos of one are never split."""
    views: Count = 4
    """Videos of each motion, each with a camera, light and colours of its own."""
    seconds: Positive = 10.0
    """Length of a video [s]."""
    rate: Positive = 2.5
    """Pictures per second [Hz]; between faster ones an arm moves by parts of a pixel."""
    pixels: Annotated[int, at_least(16)] = 112
    """Side of a picture [px]."""
    reach: Positive = 0.6
    """Farthest that a joint goes from its home position [rad]."""
    speed: Share = 0.5
    """Share of the velocity limits that is used."""
    seed: int = 0
    """Of motion, plant and camera."""


def films(robot: Robot, config: FilmConfig, workers: int = 1) -> Iterator[Trajectory]:
    """Yield the videos of each motion in turn, the same ones from any number of workers.

    The action of a picture is the joint velocity [rad/s] that was commanded since the one before,
    on average; in the first picture the arm rests.

    Raises:
        ValueError: less than one worker.
    """
    run = partial(_film, replace(robot), config)  # without its engine
    for videos in in_order(run, range(config.motions), workers):
        yield from videos


def _film(robot: Robot, config: FilmConfig, episode: int) -> list[Trajectory]:
    motion = _motion(robot, config, episode)
    course = motion, config.seed * 100_003 + episode
    moved = move(robot, load_plant(robot.name), robot.action_unit, course)
    last = min(moved.time[-1], config.seconds)
    time = np.arange(int(np.floor(last * config.rate + 1e-6)) + 1) / config.rate
    seen = moved.interpolate(np.minimum(time, moved.time[-1]))
    wanted = motion.motion(seen.time)[0]
    change = np.diff(wanted, axis=0) / np.diff(seen.time)[:, None]
    action = np.concatenate([np.zeros((1, robot.n)), change])
    name = f"{robot.name}_{episode:04d}"
    known = replace(seen, action=action, action_unit=UNIT, source=name)
    numbers = range(episode * config.views, (episode + 1) * config.views)
    return [replace(known, frames=_pictures(robot, config, k, seen.position)) for k in numbers]


def _motion(robot: Robot, config: FilmConfig, episode: int) -> Excitation:
    """Draw a motion around the home position, within the limits of the joints."""
    random = np.random.default_rng([config.seed, episode])
    how = ExcitationConfig(
        episode=config.seconds, span=1.0, reach=config.reach, speed=config.speed, candidates=1
    )
    motion = Excitation(robot, how, random, random.uniform(*PACES))
    middle = motion.middle - (robot.upper + robot.lower) / 2 + robot.home
    motion.middle = np.clip(middle, robot.lower + config.reach, robot.upper - config.reach)
    return motion


def _pictures(robot: Robot, config: FilmConfig, number: int, q: np.ndarray) -> np.ndarray:
    """Render the arm at positions (T, n) [rad] with camera, light and colours of its own."""
    scene = Scene(Camera.look_at(EYE, LOOKED_AT, FOCAL), blocks=0, marked=False)
    noise = NOISES["default"]
    scene = view(
        stray(scene, noise, config.seed, number), noise, config.seed, number, config.pixels
    )
    with SceneCamera(robot, scene, config.seed * 100_003 + number) as camera:
        none = np.empty((0, 4, 4))
        opening = robot.gripper.max_opening if robot.gripper else 0.0
        return np.stack([camera.render(row, opening, none) for row in q])

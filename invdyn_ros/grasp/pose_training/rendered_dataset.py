"""Pictures to learn to see from: moments of episodes enter, pictures with the truth leave.

Physics is slow and a picture takes a millisecond, so moments are gathered from few episodes and
each is drawn many times: with other cameras, lights and colours, and the block in other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import PositiveInt

from invdyn_ros.arms.domain_randomization import (
    DomainRandomization,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.config import Fraction, Validated
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_expert import ScriptedPolicy
from invdyn_ros.grasp.estimation.block_estimate import upright_yaw
from invdyn_ros.grasp.estimation.block_pose_estimator import landmarks, robot_state_features
from invdyn_ros.grasp.estimation.block_pose_network import ROBOT_STATE_DIM
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, block_pose, quaternion_pose
from invdyn_ros.typing import Array

IMAGES_FILE, LABELS_FILE = "images.npy", "labels.npy"
BEAT = 0.1  # [s] between moments
FLAT = 0.005  # [m] a block that is higher than this over the table does not lie on it
LOW, ROOM = (
    0.12,
    0.07,
)  # [m] a tool lower than this has a block at least this far from it, or its own
ABOVE = 0.15  # [m] a tool higher than this may be moved
LOOSE = 0.1  # [rad] deviation of the joints by which it is moved
OUTSIDE = 0.03  # [m] blocks are drawn up to this far out of their area
CHOICE = 12  # stream of random numbers


class StateSamples(NamedTuple):
    """N instants of episodes.

    Attributes:
        q: (N, n) true joints [rad].
        measured: (N, n) measured joints [rad].
        opening: (N,) distance of the finger pads [m].
        block: (N, 4, 4) true pose of the block in the base frame.
    """

    q: Array
    measured_q: Array
    opening: Array
    T_base_block: Array


@dataclass(frozen=True)
class RenderingConfig(Validated):
    """What pictures show.

    Attributes:
        each: pictures of one camera, light and set of colours.
        home: share of the pictures with the arm where an episode begins.
        fresh: share of the others with the block put somewhere else.
        default: share of the cameras with noise default; the others have noise hard.
    """

    images_per_camera: PositiveInt = 8
    home_fraction: Fraction = 0.3
    resample_block_fraction: Fraction = 0.6
    default_noise_fraction: Fraction = 0.6


def labels_dtype(landmarks: int, postures: int) -> np.dtype[Any]:
    """Return the type of what is true of one picture."""
    return np.dtype(
        [
            ("robot_state", np.float32, postures),
            ("position", np.float32, 2),  # [m]
            ("yaw", np.float32),  # [rad]
            ("on_table", np.float32),  # 1: the block lies on the table
            (
                "keypoints",
                np.float32,
                (landmarks, 2),
            ),  # with the block's foot first: -1 to 1 in the picture
            ("noise_level", np.uint8),  # 0: noise default, 1: hard
            ("at_home", np.uint8),
        ]
    )


class RenderedImages(NamedTuple):
    """N pictures on disk, and what is true of each.

    Attributes:
        pixels: (N, H, H, 3) uint8, red, green, blue; read as they are needed.
        facts: (N,) of `facts_type`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any]


def load_rendered_images(directory: Path) -> RenderedImages | None:
    """Return the pictures that `draw` finished in a folder, None if it did not."""
    if not (directory / LABELS_FILE).is_file():
        return None
    pixels = np.load(directory / IMAGES_FILE, mmap_mode="r")
    return RenderedImages(pixels, np.load(directory / LABELS_FILE))


def collect_states(
    environment: GraspEnv, episodes: int, seed: int, callback: Callable[[int, int], None]
) -> StateSamples:
    """Return what an arm that the script moves goes through.

    Args:
        environment: where; the script acts on what its camera tells.
        episodes: how many.
        seed: of their run.
        show: called after each with the number of episodes and of successes so far.
    """
    script, every = (
        ScriptedPolicy(environment),
        round(BEAT / environment.config.action_space.action_period),
    )
    seen, successes = [], 0
    for episode in range(episodes):
        _, info = environment.reset(seed=seed if episode == 0 else None)
        script.reset()
        over, step = False, 0
        while not over:
            if step % every == 0:
                seen.append(_moment(environment))
            _, _, terminated, truncated, info = environment.step(script(info))
            over, step = terminated or truncated, step + 1
        successes += info["is_success"]
        callback(episode + 1, successes)
    return StateSamples(*(np.array(part) for part in zip(*seen, strict=True)))


def concatenate_states(parts: Sequence[StateSamples]) -> StateSamples:
    """Return the moments of several gatherings as one."""
    return StateSamples(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _moment(environment: GraspEnv) -> tuple[Array, Array, float, Array]:
    simulation = environment.simulation.physics
    state, (q, _) = simulation.state(), simulation.true_state()
    return q, state.q, state.opening, quaternion_pose(*simulation.block_pose())


class DatasetRenderer:
    """Draws moments as the camera of an arm might show them."""

    def __init__(
        self,
        robot: Robot,
        scene: Scene,
        states: StateSamples,
        pixels: int,
        config: RenderingConfig,
    ) -> None:
        """Make one for an arm, its scene as described, moments to draw and a side in pixels."""
        self.robot, self.scene, self.states = robot, scene, states
        self.pixels, self.config = pixels, config
        self.camera: SceneRenderer | None = None
        self.marks = np.insert(landmarks(scene), 2, 0.0, axis=1)  # (L, 3)

    def close(self) -> None:
        """Free the renderer."""
        if self.camera is not None:
            self.camera.close()

    def render(
        self,
        directory: Path,
        count: int,
        seed: int,
        levels: tuple[DomainRandomization, DomainRandomization],
        callback: Callable[[int], None] = lambda done: None,
    ) -> RenderedImages:
        """Draw pictures into a folder.

        Args:
            directory: where to.
            count: how many.
            seed: of all that is random in them.
            levels: noise of the usual cameras, and of the harder ones.
            show: called with the number of pictures drawn so far.
        """
        directory.mkdir(parents=True, exist_ok=True)
        shape = (count, self.pixels, self.pixels, 3)
        pixels = open_memmap(directory / IMAGES_FILE, "w+", np.uint8, shape)
        facts = np.zeros(count, labels_dtype(len(self.marks) + 1, ROBOT_STATE_DIM))
        for first in range(0, count, self.config.images_per_camera):
            last = min(first + self.config.images_per_camera, count)
            for k, (picture, fact) in enumerate(self._views(first, last, seed, levels), first):
                pixels[k], facts[k] = picture, fact
            callback(last)
        pixels.flush()
        np.save(directory / f".{LABELS_FILE}", facts)
        (directory / f".{LABELS_FILE}").replace(directory / LABELS_FILE)  # there: all pictures are
        return RenderedImages(pixels, facts)

    def _views(
        self,
        first: int,
        last: int,
        seed: int,
        levels: tuple[DomainRandomization, DomainRandomization],
    ) -> Iterator[tuple[NDArray[np.uint8], tuple[Any, ...]]]:
        """Yield pictures of one camera, and what is true of each."""
        random = np.random.default_rng([seed, first, CHOICE])
        level = int(random.random() >= self.config.default_noise_fraction)
        noise = levels[level]
        shown = randomize_camera(
            randomize_scene(self.scene, noise, seed, first), noise, seed, first, self.pixels
        )
        if self.camera is None:
            self.camera = SceneRenderer(self.robot, shown, first)
        self.camera.set_scene(shown, first)
        for _ in range(first, last):
            q, measured, opening, block, home = self._choose(random)
            picture = self.camera.render(q, opening, block[None])
            foot = block[:3, 3] - [0, 0, self.scene.block_size / 2]
            marks = np.vstack([foot, self.marks])
            places = (shown.camera.project(marks) + 0.5) * 2 / self.pixels - 1
            flat = block[2, 3] < self.scene.block_size / 2 + FLAT
            arm = robot_state_features(self.robot, self.scene, measured, opening)
            yaw = upright_yaw(block[:3, :3])
            yield picture, (arm, block[:2, 3], yaw, flat, places, level, home)

    def _choose(self, random: np.random.Generator) -> tuple[Array, Array, float, Array, bool]:
        """Return true and measured joints, opening, block, and whether the arm is at home."""
        config, gripper = self.config, self.robot.gripper
        assert gripper is not None
        if random.random() < config.home_fraction:
            block = self._anywhere(random)
            return self.robot.home, self.robot.home, gripper.max_opening, block, True
        k = int(random.integers(len(self.states.q)))
        q, measured, opening, block = (part[k] for part in self.states)
        tool = self.robot.forward_kinematics(q)[:3, 3]
        flat = block[2, 3] < self.scene.block_size / 2 + FLAT
        if flat and tool[2] > ABOVE:
            move = LOOSE * random.standard_normal(self.robot.n)
            q, measured = q + move, measured + move
            tool = self.robot.forward_kinematics(q)[:3, 3]
        if flat and random.random() < config.resample_block_fraction:
            other = self._anywhere(random)
            if tool[2] > LOW or np.linalg.norm(other[:2, 3] - tool[:2]) > ROOM:
                block = other
        return q, measured, float(opening), block, False

    def _anywhere(self, random: np.random.Generator) -> Array:
        """Return a pose (4, 4) of a block on the table, in the area or a little out of it."""
        spans = (self.scene.area_x, self.scene.area_y)
        x, y = (random.uniform(low - OUTSIDE, high + OUTSIDE) for low, high in spans)
        return block_pose(x, y, self.scene.block_size / 2, random.uniform(-np.pi, np.pi))

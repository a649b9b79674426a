"""Simulated grasp episodes: physics, domain randomization and success detection.

The simulator node and the Gymnasium environment use the same class.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from invdyn_ros.arms.domain_randomization import (
    DomainRandomization,
    randomize_plant,
    randomize_scene,
    sample_goal,
    with_sensor_noise,
)
from invdyn_ros.arms.pybullet_simulation import JointSample, Simulation
from invdyn_ros.grasp.policies.success import PrivilegedState, SuccessDetector
from invdyn_ros.grasp.policies.task_success import TaskSuccess
from invdyn_ros.grasp.policies.tasks import GRASP, plan_placements
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose, ticks_per_image
from invdyn_ros.typing import Array

MAX_EPISODE_SECONDS = 16.0  # [s] time limit of an episode
SETTLE_TIME = 0.5  # [s] from the placement of the block to the end of an episode


class GraspSimulation(AbstractContextManager["GraspSimulation"]):
    """A simulated arm, alone or at a table with a block.

    Attributes:
        physics: simulation of the arm and the block.
        nominal_scene: scene without randomization, as known to the policy; None without a table.
        seed: seed of the present run.
        episode: index of the present episode in its run, from 0.
        random_goal: whether each episode has a goal of its own; otherwise that of the scene.
    """

    def __init__(
        self,
        robot: Robot,
        noise: DomainRandomization,
        scene: Scene | None,
        unit: str | None = None,
        seed: int = 0,
        max_episode_seconds: float = MAX_EPISODE_SECONDS,
        physics_rate: float | None = None,
        gui: bool = False,
        obstacles: Obstacles | None = None,
        task: str = GRASP,
    ) -> None:
        """Create the simulation; `next_episode` starts the first episode.

        Args:
            robot: the arm.
            noise: domain randomization of each episode.
            scene: nominal scene; None: only the arm.
            unit: unit of the commands; None: the arm's own.
            seed: random seed.
            max_episode_seconds: time limit of an episode [s].
            physics_rate: integration steps per second [Hz]; None: the plant's default.
            gui: open PyBullet's window.
            obstacles: table and boxes; None: those of the arm.
            task: grasp, sort or stack.
        """
        self.placements = plan_placements(scene, task) if scene and scene.num_blocks else ()
        self.task = task
        self._task_success: TaskSuccess | None = None
        self.robot, self.noise, self.nominal_scene = robot, noise, scene
        self.max_episode_seconds = max_episode_seconds
        changes = {} if physics_rate is None else {"physics_rate": physics_rate}
        self._full_noise, self._full_scene = noise, scene
        self.plant = load_plant(robot.name, **changes)
        plant = with_sensor_noise(self.plant, noise)
        self.physics = Simulation(robot, plant, unit, scene, gui, seed, obstacles)
        self._success_detector: SuccessDetector | None = None
        self.random_goal = False
        self.start_run(seed)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the physics engine."""
        self.physics.close()

    def start_run(self, seed: int) -> None:
        """Make the next episode the first one of a seed."""
        self.seed, self.episode = seed, -1

    def set_noise(self, noise: DomainRandomization) -> None:
        """Change the domain randomization of the next episodes; that of the sensors at once."""
        self.noise = self._full_noise = noise
        if self.nominal_scene is None:
            self.physics.plant = with_sensor_noise(self.plant, noise)

    def set_difficulty(self, area: float, noise: float) -> None:
        """Scale the difficulty of the next episodes; 1 is the full task.

        Args:
            area: fraction of the length and width of the area, about its centre, in which blocks
                start [-].
            noise: fraction of every term of the domain randomization [-].
        """
        self.noise, scene = self._full_noise.scaled(noise), self._full_scene
        if scene is not None:
            x, y = (_shrink(interval, area) for interval in (scene.area_x, scene.area_y))
            self.nominal_scene = replace(scene, area_x=x, area_y=y)

    def next_episode(self) -> None:
        """Reset the simulation and randomize the next episode; simulated time restarts at 0."""
        self.episode += 1
        physics, scene = self.physics, self.nominal_scene
        if scene is not None:
            key = self.seed, self.episode
            physics.scene = randomize_scene(scene, self.noise, *key)
            physics.plant = randomize_plant(self.plant, self.noise, *key, scene.block_mass)
        physics.reset(seed=self.seed * 100_003 + self.episode)
        self._success_detector = None
        if scene is not None and physics.blocks is not None:
            block = physics.block_pose()[0]
            self._task_success = TaskSuccess(scene, self.placements)
            if self.random_goal:
                goal = sample_goal(scene, self.seed, self.episode, block)
                scene = replace(scene, goal=goal)
            self._success_detector = SuccessDetector.from_scene(scene, block)
        self._placement_time: float | None = None
        self._start_time = 0.0  # [s] of the episode

    def repeat_task(self) -> None:
        """Start the next episode where the arm is, with the block at another place; time goes on.

        Raises:
            ValueError: the simulation has no scene.
        """
        self.episode += 1
        self.physics.place_blocks()
        self._success_detector = SuccessDetector.from_scene(
            self.scene, self.physics.block_pose()[0]
        )
        self._task_success = TaskSuccess(self.scene, self.placements)
        self._placement_time, self._start_time = None, self.physics.time

    @property
    def scene(self) -> Scene:
        """Randomized scene of the present episode.

        Raises:
            ValueError: the simulation has no scene.
        """
        if self.physics.scene is None:
            raise ValueError("this simulation has no scene")
        return self.physics.scene

    @property
    def success_detector(self) -> SuccessDetector:
        """Success criteria of the present episode.

        Raises:
            RuntimeError: before the first episode, or without a block.
        """
        if self._success_detector is None:
            raise RuntimeError("success_detector needs an episode with a block")
        return self._success_detector

    @property
    def is_placed(self) -> bool:
        """Whether the task is done: the block was placed, or all blocks are where they belong."""
        if self.task == GRASP:
            return self.success_detector.placed
        return self._task_success is not None and self._task_success.placed

    def privileged_state(self) -> PrivilegedState:
        """Return the true state of tool and block, which observations do not contain."""
        physics = self.physics
        q, _ = physics.true_state()
        tool, block = self.robot.forward_kinematics(q), quaternion_pose(*physics.block_pose())
        opening = physics.state().opening
        return PrivilegedState.from_poses(tool, block, physics.is_grasping(), opening)

    @property
    def camera_due(self) -> bool:
        """Whether the camera takes an image at this tick."""
        return self.physics.ticks % ticks_per_image(self.robot.rate) == 0

    def step(self, command: Array | None, opening: float | None) -> JointSample:
        """Advance by one control tick; see `Simulation.step`."""
        return self.physics.step(command, opening)

    def is_over(self) -> bool:
        """Update the success detector at ticks with an image; return whether the episode is over.

        An episode ends half a second after the last placement, or at the time limit.
        """
        if self._success_detector is None or not self.camera_due:
            return False
        physics = self.physics
        position, _ = physics.block_pose()
        measured = physics.true_state()[1], physics.state().opening
        self.success_detector.update(position, *measured)
        is_placed = self.success_detector.placed
        if self.task != GRASP and self._task_success is not None:
            positions = np.array([centre for centre, _ in physics.block_poses()])
            self._task_success.update(positions, *measured)
            is_placed = self._task_success.placed
        if not is_placed:
            self._placement_time = None
        elif self._placement_time is None:
            self._placement_time = physics.time
        return self.is_completed or physics.time >= self._start_time + self.max_episode_seconds

    @property
    def is_completed(self) -> bool:
        """Whether all blocks were placed more than `SETTLE_TIME` ago."""
        placed = self._placement_time
        return placed is not None and self.physics.time > placed + SETTLE_TIME


def _shrink(interval: tuple[float, float], fraction: float) -> tuple[float, float]:
    """Return a fraction of an interval about its centre."""
    low, high = interval
    centre, half = (low + high) / 2, fraction * (high - low) / 2
    return centre - half, centre + half

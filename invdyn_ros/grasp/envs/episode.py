"""One episode after the other: seed and noise level enter, a simulated arm at its table leaves.

The simulator node and the Gymnasium environment run this same class.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from invdyn_ros.arms.domain_randomization import (
    DomainRandomization,
    randomize_plant,
    randomize_scene,
    with_sensor_noise,
)
from invdyn_ros.arms.pybullet_simulation import JointSample, Simulation
from invdyn_ros.grasp.policies.success import SuccessDetector
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, ticks_per_image
from invdyn_ros.typing import Array

MAX_EPISODE_SECONDS = 16.0  # [s] longest time of an episode
AFTERWARDS = 0.5  # [s] from the placing to the end of an episode


class GraspSimulation(AbstractContextManager["GraspSimulation"]):
    """A simulated arm, alone or at a table with a block, that knows when an episode is over.

    Attributes:
        believed: the scene as it is described, with the calibrated camera; None without a table.
        episode: number of the present episode, from 0.
        judge: watches it; None without a block.
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
    ) -> None:
        """Make the arm; `next_episode` begins the first episode.

        Args:
            robot: the arm.
            noise: how far each episode strays.
            scene: what stands around the arm; None: nothing.
            unit: of the commands; None: the arm's own.
            seed: of all that is random.
            limit: longest time of an episode [s].
            physics_rate: integration steps per second [Hz]; None: the plant's own.
            gui: open PyBullet's window.
        """
        self.robot, self.noise, self.nominal_scene, self.max_episode_seconds = (
            robot,
            noise,
            scene,
            max_episode_seconds,
        )
        changes = {} if physics_rate is None else {"physics_rate": physics_rate}
        self._whole = noise, scene
        self.plant = load_plant(robot.name, **changes)
        self.physics = Simulation(
            robot, with_sensor_noise(self.plant, noise), unit, scene, gui, seed
        )
        self.start_run(seed)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the physics."""
        self.physics.close()

    def start_run(self, seed: int) -> None:
        """Start a run anew: the next episode is the first of a seed."""
        self.seed, self.episode = seed, -1

    def set_difficulty(self, area: float, noise: float) -> None:
        """Make the next episodes easier than the whole task, or as hard again.

        Args:
            area: share of the area's length and width, about its middle, where blocks may lie.
            noise: share of every term of the noise.
        """
        most, scene = self._whole
        self.noise = most.scaled(noise)
        if scene is not None:
            x, y = (_middle(span, area) for span in (scene.area_x, scene.area_y))
            self.nominal_scene = replace(scene, area_x=x, area_y=y)

    def next_episode(self) -> None:
        """Put everything back and draw the next episode; simulated time starts again."""
        self.episode += 1
        simulation, nominal_scene = self.physics, self.nominal_scene
        if nominal_scene is not None:
            where = self.seed, self.episode
            simulation.scene = randomize_scene(nominal_scene, self.noise, *where)
            simulation.plant = randomize_plant(
                self.plant, self.noise, *where, nominal_scene.block_mass
            )
        simulation.reset(seed=self.seed * 100_003 + self.episode)
        self.success_detector: SuccessDetector | None = None
        if nominal_scene is not None and simulation.block is not None:
            self.success_detector = SuccessDetector.from_scene(
                nominal_scene, simulation.block_pose()[0]
            )
        self._placed_at: float | None = None

    @property
    def scene(self) -> Scene:
        """The scene as it really is in this episode.

        Raises:
            ValueError: there is none.
        """
        if self.physics.scene is None:
            raise ValueError("this world has no scene")
        return self.physics.scene

    @property
    def camera_due(self) -> bool:
        """Whether the camera takes a picture at this tick."""
        return self.physics.ticks % ticks_per_image(self.robot.rate) == 0

    def step(self, command: Array | None, opening: float | None) -> JointSample:
        """Advance one control tick; see `Simulation.step`."""
        return self.physics.step(command, opening)

    def is_over(self) -> bool:
        """Judge the episode on the camera's beat; it ends half a second after the placing."""
        if self.success_detector is None or not self.camera_due:
            return False
        physics = self.physics
        block, _ = physics.block_pose()
        self.success_detector.update(block, physics.true_state()[1], physics.state().opening)
        if self.success_detector.placed and self._placed_at is None:
            self._placed_at = physics.time
        return self.is_completed or physics.time >= self.max_episode_seconds

    @property
    def is_completed(self) -> bool:
        """Whether the block was placed, and the arm has had its time afterwards."""
        return self._placed_at is not None and self.physics.time > self._placed_at + AFTERWARDS


def _middle(span: tuple[float, float], share: float) -> tuple[float, float]:
    """Return a share of an interval about its middle."""
    low, high = span
    middle, half = (low + high) / 2, share * (high - low) / 2
    return middle - half, middle + half

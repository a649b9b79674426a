"""Disturbances of a grasp: somebody takes, moves, drops, doubles or hides the block."""

from __future__ import annotations

import numpy as np

from invdyn_ros.grasp.envs.block_sensor import BlockSensor
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.perception.block_detections import describe_duplicate
from invdyn_ros.robots.scene import block_pose
from invdyn_ros.typing import Array

TAKEN, MOVED, DROPPED, DOUBLED, HIDDEN = DISTURBANCES = (
    "taken",
    "moved",
    "dropped",
    "doubled",
    "hidden",
)
STREAM = 5  # stream of random numbers
EARLIEST, LATEST = 0.3, 4.0  # [s] within which a disturbance begins
DURATION = 2.0  # [s] for which a block is hidden or doubled, or taken away
RELEASE_TIME = 0.4  # [s] for which the fingers of a dropped block open
MAX_HELD_TIME = 0.8  # [s] from the lift to the drop
HELD_HEIGHT = 0.015  # [m] of the block over its initial position, from which on it is lifted
TOOL_DISTANCE = 0.09  # [m] from the tool, at least, where somebody puts the block
AWAY = (-0.7, -0.7)  # [m] place on the table where no camera sees the block


class BlockDisturbance:
    """Something that happens once in an episode, at a random time.

    - taken: the block vanishes, and lies elsewhere in the area 2 s later;
    - moved: it lies elsewhere in the area at once;
    - dropped: the gripper that has lifted it opens;
    - doubled: a second block with the same markers makes its pose ambiguous for 2 s;
    - hidden: the camera detects nothing for 2 s.

    Attributes:
        kind: one of `DISTURBANCES`.
        has_begun: whether it has happened.
    """

    def __init__(self, kind: str, simulation: GraspSimulation, sensor: BlockSensor) -> None:
        """Create the disturbance of the present episode.

        Args:
            kind: one of `DISTURBANCES`.
            simulation: arm and blocks.
            sensor: camera of the simulation.
        """
        if kind not in DISTURBANCES:
            known = ", ".join(DISTURBANCES)
            raise ValueError(f"no disturbance '{kind}'; known are {known}")
        self.kind, self.simulation, self.sensor = kind, simulation, sensor
        self.block = simulation.scene.target
        self.rng = np.random.default_rng([simulation.seed, simulation.episode, STREAM])
        self.start = float(self.rng.uniform(EARLIEST, LATEST))
        if kind == DROPPED:
            self.start = np.inf  # once the block is lifted
        self.initial_height = simulation.physics.block_pose(self.block)[0][2]
        self.has_begun = self.has_ended = False

    def apply(self, opening: float) -> float:
        """Begin or end where it is time to; return the opening [m] that the gripper gets."""
        time = self.simulation.physics.time
        if (
            self.kind == DROPPED
            and not self.has_begun
            and self.start == np.inf
            and self._is_held()
        ):
            self.start = time + float(self.rng.uniform(0.0, MAX_HELD_TIME))
        if not self.has_begun and time >= self.start:
            self.has_begun = True
            self._begin()
        duration = RELEASE_TIME if self.kind == DROPPED else DURATION
        if self.has_begun and not self.has_ended and time >= self.start + duration:
            self.has_ended = True
            self._end()
        gripper = self.simulation.robot.gripper
        if self.kind == DROPPED and self.has_begun and not self.has_ended and gripper is not None:
            return gripper.max_opening
        return opening

    def _is_held(self) -> bool:
        physics = self.simulation.physics
        height = physics.block_pose(self.block)[0][2] - self.initial_height
        return physics.is_grasping(self.block) and height > HELD_HEIGHT

    def _begin(self) -> None:
        if self.kind == MOVED:
            self._move(self._free_pose())
        elif self.kind == TAKEN:
            self._move(block_pose(*AWAY, self.initial_height, 0.0))
        elif self.kind == HIDDEN:
            self.sensor.hidden = True
        elif self.kind == DOUBLED:
            self.sensor.duplicates = {self.block: describe_duplicate(self.block)}

    def _end(self) -> None:
        self.sensor.hidden, self.sensor.duplicates = False, {}
        if self.kind == TAKEN:
            self._move(self._free_pose())

    def _move(self, pose: Array) -> None:
        blocks = self.simulation.physics.blocks
        if blocks is not None:
            blocks.move(self.block, pose)

    def _free_pose(self) -> Array:
        """Return a pose in the area where the arm is not."""
        simulation = self.simulation
        q, _ = simulation.physics.true_state()
        tool = simulation.robot.forward_kinematics(q)[:2, 3]
        while True:
            pose = simulation.scene.sample_block_pose(self.rng)
            if np.linalg.norm(pose[:2, 3] - tool) > TOOL_DISTANCE:
                return pose

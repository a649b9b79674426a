"""Blocks with physics in a PyBullet world."""

from __future__ import annotations

import numpy as np

from invdyn_ros.arms.pybullet_client import BulletClient
from invdyn_ros.arms.pybullet_scene import add_block, place_block
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array, Mask

CONTACT_FREE_POSITION = (0.0, 0.0, 10.0)  # [m] where a block has no contacts


class SimulatedBlocks:
    """The blocks of a scene.

    Attributes:
        bodies: PyBullet's id of each block.
        target: index of the block to grasp.
    """

    def __init__(self, client: BulletClient, scene: Scene) -> None:
        """Add the blocks of a scene to a world."""
        self.client, self.target = client, scene.target
        self.bodies = [
            add_block(client, scene, np.eye(4), block) for block in range(scene.num_blocks)
        ]

    def pose(self, block: int) -> tuple[Array, Array]:
        """Return the true position (3,) [m] and orientation (4,) xyzw of a block."""
        position, orientation = self.client.getBasePositionAndOrientation(self.bodies[block])
        return np.array(position), np.array(orientation)

    def move(self, block: int, pose: Array) -> None:
        """Move a block to a pose (4, 4), where it is at rest."""
        # Bullet caches contacts; clear them by moving the block away
        body = self.bodies[block]
        self.client.resetBasePositionAndOrientation(body, CONTACT_FREE_POSITION, [0, 0, 0, 1])
        self.client.performCollisionDetection()
        place_block(self.client, body, pose)
        self.client.resetBaseVelocity(body, [0, 0, 0], [0, 0, 0])

    def place(self, scene: Scene, rng: np.random.Generator) -> None:
        """Move all blocks to random poses, with the mass and the friction of the scene."""
        for block, pose in enumerate(scene.sample_block_poses(rng)):
            self.move(block, pose)
            self.client.changeDynamics(
                self.bodies[block], -1, mass=scene.block_mass, lateralFriction=scene.friction
            )

    def occluded(self, arm: int, block: int, eye: Array, points: Array) -> Mask:
        """Return which points of a block are hidden by the arm or by other blocks, (N,).

        Args:
            arm: body id of the arm.
            block: index of the block.
            eye: (3,) position of the camera [m].
            points: (N, 3) points on the block [m].
        """
        hiding = {arm, *self.bodies} - {self.bodies[block]}
        rays = self.client.rayTestBatch([eye.tolist()] * len(points), points.tolist())
        return np.array([ray[0] in hiding for ray in rays])

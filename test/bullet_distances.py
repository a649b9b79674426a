"""Distances between the bodies of an arm and its obstacles in PyBullet."""

from collections import defaultdict

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.robots.obstacles import Box
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import load_urdf

RANGE = 0.2  # [m]


class BulletDistances:
    """Distances between the bodies of an arm and obstacles in PyBullet."""

    def __init__(self, robot: Robot, box: Box) -> None:
        self.client, self.robot = BulletClient(pybullet.DIRECT), robot
        self.arm = self.client.loadURDF(str(robot.urdf), useFixedBase=True)
        self.table = self.client.createMultiBody(
            0, self.client.createCollisionShape(pybullet.GEOM_PLANE)
        )
        half = [edge / 2 for edge in box.size]
        shape = self.client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half)
        quaternion = self.client.getQuaternionFromEuler(box.rpy)
        self.box = self.client.createMultiBody(0, shape, -1, box.position, quaternion)
        count = self.client.getNumJoints(self.arm)
        info = [self.client.getJointInfo(self.arm, j) for j in range(count)]
        self.index = {row[1].decode(): row[0] for row in info}
        tree = load_urdf(robot.urdf)
        moving = robot.joint_names
        self.body = {link: tree.moving_ancestor(link, moving)[0] for link in tree.links}
        self.joint = {-1: None} | {row[0]: self.body[row[12].decode()] for row in info}

    def of_pairs(self, pairs: list, q: np.ndarray) -> np.ndarray:
        """Distance of each pair of bodies, given by a link or the name of an obstacle."""
        distances = self._all(q)
        bodies = [tuple(self.body.get(name, name) for name in pair) for pair in pairs]
        return np.array([min(distances[a, b], distances[b, a]) for a, b in bodies])

    def _all(self, q: np.ndarray) -> dict:
        """Distance of each pair of joints, or joint and obstacle; fingers open and closed."""
        result = defaultdict(lambda: RANGE)
        gripper = self.robot.gripper
        for opening in (0.0, gripper.max_opening / 2) if gripper else (0.0,):
            values = dict(zip(self.robot.joint_names, q, strict=True))
            values |= dict.fromkeys(gripper.joint_names if gripper else (), opening)
            for name, value in values.items():
                self.client.resetJointState(self.arm, self.index[name], value)
            for name, other in (("self", self.arm), ("table", self.table), ("wall", self.box)):
                for point in self.client.getClosestPoints(self.arm, other, RANGE):
                    a = self.joint[point[3]]
                    b = self.joint[point[4]] if name == "self" else name
                    result[a, b] = min(result[a, b], point[8])
        return result

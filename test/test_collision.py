"""Distances of arms to obstacles and to themselves, against PyBullet."""

from collections import defaultdict

import numpy as np
import pybullet
import pytest
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot
from invdyn_ros.robots.urdf import load_urdf

RANGE = 0.2  # [m]
NO_MARGINS = CollisionConfig(self_margin=0, obstacle_margin=0, finger_margin=0, range=RANGE)
WALL = Box("wall", (0.1, 1.0, 0.8), (0.55, 0.2, 0.5), (0.1, 0.2, 0.3))


def load(name: str) -> Robot:
    """An arm of the registry, or that of any URDF file."""
    return (
        load_robot("plain", load_robot("kuka_iiwa").urdf) if name == "plain" else load_robot(name)
    )


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
        self.joint = {-1: tree.moving_ancestor(tree.root, robot.joint_names)[0]}
        for row in info:
            name = row[12].decode()
            self.joint[row[0]] = tree.moving_ancestor(name, robot.joint_names)[0]

    def __call__(self, q: np.ndarray) -> dict:
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


@pytest.mark.parametrize("name", [*ROBOTS, "plain"])
def test_distances_are_those_of_pybullet(name):
    robot = load(name)
    model = CollisionModel(robot, Obstacles(boxes=(WALL,)), NO_MARGINS)
    bullet, tree = BulletDistances(robot, WALL), load_urdf(robot.urdf)
    rng = np.random.default_rng(3)
    compared = 0
    for q in rng.uniform(robot.lower, robot.upper, (40, robot.n)):
        expected = bullet(q)
        for pair, distance in zip(model.pairs, model.clearances(q), strict=True):
            a, b = (
                tree.moving_ancestor(link, robot.joint_names)[0] if link in tree.links else link
                for link in pair
            )
            reference = min(expected[a, b], expected[b, a])
            if reference > -0.01:
                # PyBullet adds 1 mm to each mesh; depths of contacts are approximate
                tolerance = 2.5e-3 if reference > 0 else 8e-3
                assert distance == pytest.approx(reference, abs=tolerance), (pair, q)
                compared += 0 < reference < RANGE
    assert compared > 50


@pytest.mark.parametrize("name", [*ROBOTS, "plain"])
def test_home_is_clear_of_table_and_arm(name):
    robot = load(name)
    obstacles = ROBOTS[name].obstacles if name in ROBOTS else Obstacles()
    model = CollisionModel(robot, obstacles)
    assert model.clearance(robot.home).distance > 0, model.clearance(robot.home)
    assert not model.excluded


@pytest.mark.parametrize("name", ROBOTS)
def test_distance_changes_no_more_than_motion_radii_allow(name):
    robot = load(name)
    model = CollisionModel(robot, Obstacles(boxes=(WALL,)), NO_MARGINS)
    rng = np.random.default_rng(4)
    tightest = 0.0
    for q in rng.uniform(robot.lower, robot.upper, (150, robot.n)):
        step = rng.normal(size=robot.n) * rng.choice([0.0, 1.0], robot.n) * 0.05
        before, after = model.clearances(q), model.clearances(q + step)
        known = (before < RANGE) & (after < RANGE) & (np.minimum(before, after) > 0)
        allowed = model.radii @ np.abs(step)
        assert (np.abs(after - before)[known] <= allowed[known] + 1e-4).all()
        if known.any():
            tightest = max(
                tightest, np.max(np.abs(after - before)[known] / (allowed[known] + 1e-9))
            )
    assert tightest > 0.5  # the bound is not far from what happens


def test_closest_pair_has_its_name():
    robot = load("ur5")
    model = CollisionModel(robot, Obstacles(boxes=(WALL,)))
    q = robot.home.copy()
    q[1] = 0.0  # the upper arm is level, the forearm goes down into the table
    distance, pair = model.clearance(q)
    assert distance < 0
    assert "table" in pair or "wall" in pair
    assert set(pair) <= {*load_urdf(robot.urdf).links, "table", "wall"}


def test_missing_mesh_is_named(tmp_path):
    text = load_robot("ur5").urdf.read_text(encoding="utf-8")
    file = tmp_path / "arm.urdf"
    mesh = '<mesh filename="package://nowhere/a.stl"/>'
    file.write_text(text.replace('<cylinder radius="0.058" length="0.116"/>', mesh), "utf-8")
    with pytest.raises(ValueError, match=r"no file 'package://nowhere/a.stl'.*'upper_arm_link'"):
        CollisionModel(load_robot("arm", file), Obstacles())

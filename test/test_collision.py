"""Distances of arms to obstacles and to themselves, against PyBullet."""

import numpy as np
import pytest
from bullet_distances import BulletDistances

from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.obstacles import Box, Obstacles, load_obstacles
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot, package_file
from invdyn_ros.robots.urdf import load_urdf

NO_MARGINS = CollisionConfig(self_margin=0, obstacle_margin=0, gripper_margin=0, range=0.12)
WALL = Box("wall", (0.1, 1.0, 0.8), (0.55, 0.2, 0.5), (0.1, 0.2, 0.3))


def load(name: str) -> Robot:
    """An arm of the registry, or that of any URDF file."""
    return (
        load_robot("plain", load_robot("kuka_iiwa").urdf) if name == "plain" else load_robot(name)
    )


@pytest.mark.parametrize("name", [*ROBOTS, "plain"])
def test_distances_are_those_of_pybullet(name):
    robot = load(name)
    model = CollisionModel(robot, Obstacles(boxes=(WALL,)), NO_MARGINS)
    bullet, compared = BulletDistances(robot, WALL), 0
    for q in np.random.default_rng(3).uniform(robot.lower, robot.upper, (40, robot.n)):
        expected, distances = bullet.of_pairs(model.pairs, q), model.clearances(q)
        expected = np.minimum(expected, model.range)
        # PyBullet adds 1 mm to each mesh; depths of contacts are approximate
        tolerance = np.where(expected > 0, 2.5e-3, 8e-3)
        known = expected > -0.01
        assert (np.abs(distances - expected) <= tolerance)[known].all(), q
        compared += ((expected > 0) & (expected < model.range)).sum()
    assert compared > 40


@pytest.mark.parametrize("name", [*ROBOTS, "plain"])
def test_home_is_clear_of_table_and_arm(name):
    robot = load(name)
    obstacles = ROBOTS[name].obstacles if name in ROBOTS else Obstacles()
    model = CollisionModel(robot, obstacles)
    assert model.clearance(robot.home).distance > 0, model.clearance(robot.home)
    assert not model.excluded


@pytest.mark.parametrize("name", ROBOTS)
def test_distances_change_no_more_than_radii_allow(name):
    robot = load(name)
    model = CollisionModel(robot, Obstacles(boxes=(WALL,)), NO_MARGINS)
    rng, tightest = np.random.default_rng(4), 0.0
    for q in rng.uniform(robot.lower, robot.upper, (150, robot.n)):
        step = rng.normal(size=robot.n) * rng.choice([0.0, 1.0], robot.n) * 0.05
        near = model.near_shapes(q)
        allowed = model.radii(near.shapes) @ np.abs(step)
        assert (allowed <= (model.largest_radii @ np.abs(step)).max() + 1e-12).all()
        least = np.full(len(model.pairs), model.range - (model.largest_radii @ np.abs(step)).max())
        np.minimum.at(least, near.pair, near.clearance - allowed)
        after = model.clearances(q + step)
        # a depth of penetration is not exact
        clear = model.clearances(q) > 0
        assert (after >= least - 1e-4)[clear].all()
        known = (after < model.range) & clear & (least < model.range)
        before = model.clearances(q)
        moved = (before - after)[known] / ((before - least)[known] + 1e-3)
        tightest = max(tightest, moved.max(initial=0.0))
    assert tightest > 0.5  # the bound is not far from what happens


@pytest.mark.parametrize("name", ROBOTS)
def test_shipped_example_of_obstacles_leaves_home_clear(name):
    robot = load(name)
    obstacles = load_obstacles(package_file("config/obstacles/example.yaml"))
    assert len(obstacles.boxes) == 2
    assert CollisionModel(robot, obstacles).clearance(robot.home).distance > 0


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

"""Description of a robot that other programs take: URDF text and frames of the links."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from oracle import robot
from scipy.spatial.transform import Rotation

from invdyn_ros.robots.link_frames import LinkFrames, description_text
from invdyn_ros.robots.robot import ROBOTS, Robot
from invdyn_ros.robots.urdf import UrdfTree

PREFIX = "left_"
MIMIC = """<robot name="r"><link name="a"/><link name="b"/><link name="c"/>
<joint name="one" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/>
<limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
<joint name="two" type="prismatic"><parent link="b"/><child link="c"/><axis xyz="1 0 0"/>
<origin rpy="0 0 1.5707963267948966"/><mimic joint="one" multiplier="-2" offset="0.1"/>
<limit lower="-1" upper="1" velocity="1" effort="1"/></joint></robot>"""


def in_base(poses: list, base: str) -> dict[str, np.ndarray]:
    """Link -> pose (4, 4) in the base frame, as tf2 chains them."""
    chained, waiting = {base: np.eye(4)}, list(poses)
    while waiting:
        ready = [pose for pose in waiting if pose.parent in chained]
        assert ready, "a frame has no way to the base"
        for pose in ready:
            T = np.eye(4)
            T[:3, :3] = Rotation.from_quat(pose.quaternion).as_matrix()
            T[:3, 3] = pose.position
            chained[pose.child] = chained[pose.parent] @ T
        waiting = [pose for pose in waiting if pose not in ready]
    return chained


@pytest.mark.parametrize("arm", ROBOTS)
def test_frames_are_those_of_the_arm(arm: str) -> None:
    """All links of the URDF are in one tree, where forward kinematics has them."""
    known = robot(arm)
    frames = LinkFrames(description_text(known, PREFIX))
    rng = np.random.default_rng(0)
    fingers = known.gripper.joint_names if known.gripper else ()
    for _ in range(5):
        q = rng.uniform(known.lower, known.upper)
        names = [PREFIX + name for name in (*known.joint_names, *fingers)]
        positions = dict(zip(names, [*q, *(0.0 for _ in fingers)], strict=True))
        poses = in_base(frames.fixed + frames.moving(positions), PREFIX + known.base_link)
        assert len(poses) == len(UrdfTree(known.urdf.read_bytes()).links)
        for link, T in poses.items():
            expected = known.forward_kinematics(q, link.removeprefix(PREFIX))
            np.testing.assert_allclose(T, expected, atol=1e-9)


def test_fingers_move_by_half_the_opening_each() -> None:
    known = robot("ur5")
    frames, fingers = LinkFrames(description_text(known)), known.gripper.joint_names
    closed, opened = (
        frames.moving(dict.fromkeys(fingers, opening / 2))
        for opening in (0.0, known.gripper.max_opening)
    )
    assert len(closed) == len(opened) == 2  # no frame of a joint whose position is not known
    for before, after in zip(closed, opened, strict=True):
        moved = np.linalg.norm(np.subtract(after.position, before.position))
        assert moved == pytest.approx(known.gripper.max_opening / 2)


def test_joint_that_mimics_another_one_moves_with_it() -> None:
    turned, slid = LinkFrames(MIMIC).moving({"one": 0.4})
    assert turned.quaternion == pytest.approx((0, 0, np.sin(0.2), np.cos(0.2)))
    assert slid.position == pytest.approx((0, -0.7, 0))
    assert LinkFrames(MIMIC).moving({"one": np.nan}) == []


@pytest.mark.parametrize("arm", ROBOTS)
def test_description_has_the_limits_of_the_arm_and_meshes_that_exist(arm: str) -> None:
    known = robot(arm)
    text = description_text(known)
    joints = UrdfTree(text).joints
    for k, name in enumerate(known.joint_names):
        limits = {key: getattr(known, key)[k] for key in ("lower", "upper", "velocity", "effort")}
        assert joints[name].limit == limits
    for mesh in UrdfTree(text).element.iter("mesh"):
        address = urlparse(mesh.get("filename"))
        assert address.scheme == "file" and Path(unquote(address.path)).is_file()


def test_meshes_of_a_package_stay_in_it(tmp_path: Path) -> None:
    known: Robot = robot("ur5")
    text = known.urdf.read_text().replace(
        "</visual>",
        '</visual><visual><geometry><mesh filename="package://p/a.stl"/></geometry></visual>',
        1,
    )
    (tmp_path / "arm.urdf").write_text(text)
    described = description_text(replace(known, urdf=tmp_path / "arm.urdf"))
    assert 'filename="package://p/a.stl"' in described

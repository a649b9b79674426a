"""Arm in a PyBullet world, with the inertia, friction and payload of its plant."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class LinkInertias(NamedTuple):
    """Link inertias of the URDF, without the terms of the plant.

    Attributes:
        inertia: (n, 3) principal inertia of each joint's link [kg m2].
        axes: (n, 3) joint axes in the same frames.
        tip: index of the link that carries the payload.
        tip_mass: mass of the tip link [kg].
        tip_inertia: (3,) principal inertia of the tip link [kg m2].
    """

    inertia: Array
    axes: Array
    tip: int
    tip_mass: float
    tip_inertia: Array


class PybulletArm(NamedTuple):
    """PyBullet ids of an arm.

    Attributes:
        body_id: id of the body.
        joints: (n,) indices of the arm's joints.
        fingers: indices of the gripper's joints; empty without a gripper.
        link_inertias: link inertias without the terms of the plant.
    """

    body_id: int
    joints: list[int]
    fingers: list[int]
    link_inertias: LinkInertias


def add_arm(client: BulletClient, robot: Robot, plant: PlantConfig) -> PybulletArm:
    """Add an arm to a PyBullet world, with the inertia, payload and friction of its plant.

    Args:
        client: the PyBullet world.
        robot: arm to load.
        plant: parameters of the simulated arm.
    """
    body_id = client.loadURDF(
        str(robot.urdf), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
    )
    info = [client.getJointInfo(body_id, j) for j in range(client.getNumJoints(body_id))]
    joint = {row[1].decode(): row[0] for row in info}
    link = {row[12].decode(): row[0] for row in info}
    joints = [joint[name] for name in robot.joint_names]
    fingers = [joint[name] for name in robot.gripper.joint_names] if robot.gripper else []
    _clear_bullet_defaults(client, body_id, link, _links_without_inertia(robot.urdf))
    inertia = [client.getDynamicsInfo(body_id, j)[2] for j in joints]
    # the axis is given in the principal frame of the link's inertia
    axes = np.array([info[j][13] for j in joints])
    tip = client.getDynamicsInfo(body_id, link[robot.tip_link])
    link_inertias = LinkInertias(
        np.array(inertia), axes, link[robot.tip_link], tip[0], np.array(tip[2])
    )
    arm = PybulletArm(body_id, joints, fingers, link_inertias)
    apply_plant(client, arm, robot, plant)
    for finger in fingers:
        client.changeDynamics(
            body_id, finger, lateralFriction=1.0, spinningFriction=0.01, rollingFriction=1e-4
        )
    if len(fingers) == 2:
        _gear_fingers(client, body_id, fingers)
    return arm


def apply_plant(client: BulletClient, arm: PybulletArm, robot: Robot, plant: PlantConfig) -> None:
    """Set rotor inertia, viscous friction and payload of an arm, replacing those of another plant.

    Args:
        client: the PyBullet world.
        arm: the arm.
        robot: description of the arm.
        plant: parameters to apply.
    """
    body_id, link_inertias = arm.body_id, arm.link_inertias
    rotors, viscous = plant.rotor_inertia * robot.effort, plant.viscous * robot.effort
    for j, inertia, axis, rotor, damping in zip(
        arm.joints, link_inertias.inertia, link_inertias.axes, rotors, viscous, strict=True
    ):  # [kg m2], [N m s/rad]
        diagonal = inertia + rotor * axis**2
        client.changeDynamics(body_id, j, jointDamping=damping, localInertiaDiagonal=diagonal)
    payload_inertia = 1e-4 * plant.payload  # of about 3 cm in size [kg m2]
    client.changeDynamics(
        body_id,
        link_inertias.tip,
        mass=link_inertias.tip_mass + plant.payload,
        localInertiaDiagonal=link_inertias.tip_inertia + payload_inertia,
    )


def _clear_bullet_defaults(
    client: BulletClient, body_id: int, link: dict[str, int], massless: set[str]
) -> None:
    """Undo the defaults of Bullet: damping, a low speed limit, a mass of massless frames.

    Args:
        client: the PyBullet world.
        body_id: id of the body.
        link: link name -> link index.
        massless: names of the links without inertia.
    """
    for name, j in link.items():
        if name in massless:
            client.changeDynamics(body_id, j, mass=0)  # Bullet's default is 1 kg
        client.changeDynamics(
            body_id, j, linearDamping=0, angularDamping=0, jointDamping=0, maxJointVelocity=50
        )


def _gear_fingers(client: BulletClient, body_id: int, fingers: list[int]) -> None:
    """Couple the fingers like a real gripper, so that a held block stays centred."""
    gear = client.createConstraint(
        body_id,
        fingers[0],
        body_id,
        fingers[1],
        jointType=pybullet.JOINT_GEAR,
        jointAxis=[0, 1, 0],
        parentFramePosition=[0, 0, 0],
        childFramePosition=[0, 0, 0],
    )
    client.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=1e4)


def _links_without_inertia(urdf: Path) -> set[str]:
    """Return the names of the links of a URDF without inertia."""
    links = ET.parse(urdf).getroot().findall("link")
    return {link.get("name", "") for link in links if link.find("inertial") is None}

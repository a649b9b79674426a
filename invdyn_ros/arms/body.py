"""An arm with the inertia, friction and payload of its plant: URDF and plant in, a body out."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.arms.plant import PlantConfig
from invdyn_ros.robot import Robot


class Body(NamedTuple):
    """An arm in a physics world, by PyBullet's numbers.

    Attributes:
        number: of the body.
        joints: (n,) numbers of the arm's joints, in its order.
        fingers: those of the gripper; none without one.
    """

    number: int
    joints: list[int]
    fingers: list[int]


def add_arm(client: BulletClient, robot: Robot, plant: PlantConfig) -> Body:
    """Add an arm to a PyBullet world and give it the plant's inertia, payload and friction."""
    body = client.loadURDF(
        str(robot.urdf), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
    )
    info = [client.getJointInfo(body, j) for j in range(client.getNumJoints(body))]
    joint = {row[1].decode(): row[0] for row in info}
    link = {row[12].decode(): row[0] for row in info}
    joints = [joint[name] for name in robot.joint_names]
    fingers = [joint[name] for name in robot.gripper.joints] if robot.gripper else []
    _undo_defaults(client, body, link, _without_inertia(robot.urdf))
    for j, rotor, viscous in zip(
        joints, plant.rotor_inertia * robot.effort, plant.viscous * robot.effort, strict=True
    ):  # [kg m2], [N m s/rad]
        # The axis comes in the frame of the link's inertia, where the diagonal is.
        inertia, axis = client.getDynamicsInfo(body, j)[2], np.array(info[j][13])
        diagonal = np.array(inertia) + rotor * axis**2
        client.changeDynamics(body, j, jointDamping=viscous, localInertiaDiagonal=diagonal)
    if plant.payload:
        _load(client, body, link[robot.tip_link], plant.payload)
    for finger in fingers:
        client.changeDynamics(
            body, finger, lateralFriction=1.0, spinningFriction=0.01, rollingFriction=1e-4
        )
    if len(fingers) == 2:
        _couple(client, body, fingers)
    return Body(body, joints, fingers)


def _undo_defaults(client: BulletClient, body: int, link: dict[str, int], bare: set[str]) -> None:
    """Take what Bullet adds to links by itself: damping, low top speed, mass of mere frames."""
    for name, j in link.items():
        if name in bare:
            client.changeDynamics(body, j, mass=0)  # Bullet's default is 1 kg
        client.changeDynamics(
            body, j, linearDamping=0, angularDamping=0, jointDamping=0, maxJointVelocity=50
        )


def _load(client: BulletClient, body: int, tip: int, payload: float) -> None:
    """Hang a payload [kg] on the tip."""
    dynamics = client.getDynamicsInfo(body, tip)
    inertia = np.array(dynamics[2]) + 1e-4 * payload  # a lump of about 3 cm
    mass = dynamics[0] + payload
    client.changeDynamics(body, tip, mass=mass, localInertiaDiagonal=inertia)


def _couple(client: BulletClient, body: int, fingers: list[int]) -> None:
    """Gear the fingers together, as a real gripper does: a held block stays centred."""
    gear = client.createConstraint(
        body,
        fingers[0],
        body,
        fingers[1],
        jointType=pybullet.JOINT_GEAR,
        jointAxis=[0, 1, 0],
        parentFramePosition=[0, 0, 0],
        childFramePosition=[0, 0, 0],
    )
    client.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=1e4)


def _without_inertia(urdf: Path) -> set[str]:
    """Return the names of the links that a URDF gives no inertia: mere frames."""
    links = ET.parse(urdf).getroot().findall("link")
    return {link.get("name", "") for link in links if link.find("inertial") is None}

"""An arm with the inertia, friction and payload of its plant: URDF and plant in, a body out."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot


class LinkInertias(NamedTuple):
    """Mass and inertia of links as the URDF has them, to which a plant adds its own.

    Attributes:
        inertia: (n, 3) diagonal of each joint's link [kg m2].
        axes: (n, 3) of the joints, in the same frames.
        tip: number of the link that carries a payload.
        tip_mass: its mass [kg].
        tip_inertia: (3,) its diagonal [kg m2].
    """

    inertia: np.ndarray
    axes: np.ndarray
    tip: int
    tip_mass: float
    tip_inertia: np.ndarray


class PybulletArm(NamedTuple):
    """An arm in a physics world, by PyBullet's numbers.

    Attributes:
        number: of the body.
        joints: (n,) numbers of the arm's joints, in its order.
        fingers: those of the gripper; none without one.
        bones: its links without what a plant adds.
    """

    body_id: int
    joints: list[int]
    fingers: list[int]
    link_inertias: LinkInertias


def add_arm(client: BulletClient, robot: Robot, plant: PlantConfig) -> PybulletArm:
    """Add an arm to a PyBullet world and give it the plant's inertia, payload and friction."""
    number = client.loadURDF(
        str(robot.urdf), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
    )
    info = [client.getJointInfo(number, j) for j in range(client.getNumJoints(number))]
    joint = {row[1].decode(): row[0] for row in info}
    link = {row[12].decode(): row[0] for row in info}
    joints = [joint[name] for name in robot.joint_names]
    fingers = [joint[name] for name in robot.gripper.joints] if robot.gripper else []
    _clear_bullet_defaults(client, number, link, _links_without_inertia(robot.urdf))
    inertia = [client.getDynamicsInfo(number, j)[2] for j in joints]
    # The axis comes in the frame of the link's inertia, where the diagonal is.
    axes = np.array([info[j][13] for j in joints])
    tip = client.getDynamicsInfo(number, link[robot.tip_link])
    bones = LinkInertias(np.array(inertia), axes, link[robot.tip_link], tip[0], np.array(tip[2]))
    body = PybulletArm(number, joints, fingers, bones)
    apply_plant(client, body, robot, plant)
    for finger in fingers:
        client.changeDynamics(
            number, finger, lateralFriction=1.0, spinningFriction=0.01, rollingFriction=1e-4
        )
    if len(fingers) == 2:
        _gear_fingers(client, number, fingers)
    return body


def apply_plant(client: BulletClient, body: PybulletArm, robot: Robot, plant: PlantConfig) -> None:
    """Give an arm the rotors, the viscous friction and the payload of a plant, and no other's."""
    number, bones = body.body_id, body.link_inertias
    rotors, viscous = plant.rotor_inertia * robot.effort, plant.viscous * robot.effort
    for j, inertia, axis, rotor, damping in zip(
        body.joints, bones.inertia, bones.axes, rotors, viscous, strict=True
    ):  # [kg m2], [N m s/rad]
        diagonal = inertia + rotor * axis**2
        client.changeDynamics(number, j, jointDamping=damping, localInertiaDiagonal=diagonal)
    lump = 1e-4 * plant.payload  # of about 3 cm [kg m2]
    client.changeDynamics(
        number,
        bones.tip,
        mass=bones.tip_mass + plant.payload,
        localInertiaDiagonal=bones.tip_inertia + lump,
    )


def _clear_bullet_defaults(
    client: BulletClient, body: int, link: dict[str, int], bare: set[str]
) -> None:
    """Take what Bullet adds to links by itself: damping, low top speed, mass of mere frames."""
    for name, j in link.items():
        if name in bare:
            client.changeDynamics(body, j, mass=0)  # Bullet's default is 1 kg
        client.changeDynamics(
            body, j, linearDamping=0, angularDamping=0, jointDamping=0, maxJointVelocity=50
        )


def _gear_fingers(client: BulletClient, body: int, fingers: list[int]) -> None:
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


def _links_without_inertia(urdf: Path) -> set[str]:
    """Return the names of the links that a URDF gives no inertia: mere frames."""
    links = ET.parse(urdf).getroot().findall("link")
    return {link.get("name", "") for link in links if link.find("inertial") is None}

"""Arm in a PyBullet world, with the inertia, friction and payload of its plant."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_client import BulletClient, pybullet
from invdyn_ros.native_output import STDOUT, suppress_native_output
from invdyn_ros.robots.mesh_files import COLLADA, bullet_mesh, find_mesh
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import parse_urdf
from invdyn_ros.robots.urdf_text import is_plain, read_urdf_text, urdf_name
from invdyn_ros.typing import Array

MAX_BULLET_JOINTS = 127  # of one body, beyond which their states cannot be read


class LinkInertia(NamedTuple):
    """Mass and inertia of a link.

    Attributes:
        mass: [kg].
        inertia: (3,) principal inertia [kg m2].
    """

    mass: float
    inertia: Array


class PybulletArm(NamedTuple):
    """PyBullet ids of an arm.

    Attributes:
        body_id: id of the body.
        joints: (n,) indices of the arm's joints; a joint has the index of the link that it moves.
        fingers: indices of the gripper's joints; empty without a gripper.
        tip: index of the link that carries the payload.
        axes: (n, 3) joint axes in the principal frames of the links' inertias.
        link_inertias: link index -> inertia of the URDF, without the terms of the plant.
        link_names: link index -> name; the index of the base is -1.
        groups: link index -> the link of the nearest moving joint above it, or the base.
    """

    body_id: int
    joints: list[int]
    fingers: list[int]
    tip: int
    axes: Array
    link_inertias: dict[int, LinkInertia]
    link_names: dict[int, str]
    groups: dict[int, int]


def add_arm(client: BulletClient, robot: Robot, plant: PlantConfig) -> PybulletArm:
    """Add an arm to a PyBullet world, with the inertia, payload and friction of its plant.

    The arm collides with itself, except for links that a single joint connects.

    Args:
        client: the PyBullet world.
        robot: arm to load.
        plant: parameters of the simulated arm.

    Raises:
        ValueError: PyBullet cannot load the URDF.
    """
    body_id = _load_urdf(client, robot)
    info = [client.getJointInfo(body_id, j) for j in range(client.getNumJoints(body_id))]
    if len(info) > MAX_BULLET_JOINTS:
        raise ValueError(
            f"{robot.urdf}: it has {len(info)} joints, PyBullet simulates {MAX_BULLET_JOINTS} at "
            "most, fixed ones too; leave out the branches that do not belong to the arm"
        )
    joint = {row[1].decode(): row[0] for row in info}
    link = {row[12].decode(): row[0] for row in info}
    if missing := [name for name in robot.joint_names if name not in joint]:
        raise ValueError(
            f"{robot.urdf}: PyBullet does not load joint '{missing[0]}'; check its file for "
            "unusual characters"
        )
    joints = [joint[name] for name in robot.joint_names]
    fingers = [joint[name] for name in robot.gripper.joint_names] if robot.gripper else []
    _clear_bullet_defaults(client, body_id, link, _links_without_inertia(robot.urdf))
    dynamics = {j: client.getDynamicsInfo(body_id, j) for j in link.values()}
    arm = PybulletArm(
        body_id,
        joints,
        fingers,
        tip=link[robot.tip_link],
        axes=np.array([info[j][13] for j in joints]),
        link_inertias={j: LinkInertia(row[0], np.array(row[2])) for j, row in dynamics.items()},
        link_names={j: name for name, j in link.items()} | {-1: robot.base_link},
        groups=_rigid_groups(info),
    )
    _disable_adjacent_collisions(client, arm, info)
    _disable_collisions_at_home(client, arm, robot)
    apply_plant(client, arm, robot, plant)
    for finger in fingers:
        client.changeDynamics(
            body_id, finger, lateralFriction=1.0, spinningFriction=0.01, rollingFriction=1e-4
        )
    if robot.gripper and len(fingers) == 2 and len(set(robot.gripper.ends)) == 1:
        _gear_fingers(client, body_id, fingers)
    return arm


def _load_urdf(client: BulletClient, robot: Robot) -> int:
    """Load the URDF of an arm and return the id of its body."""
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE | pybullet.URDF_USE_SELF_COLLISION
    try:
        with suppress_native_output(STDOUT), bullet_urdf(robot) as file:
            # Bullet reports links without inertia
            return int(client.loadURDF(str(file), useFixedBase=True, flags=flags))
    except pybullet.error:
        raise ValueError(
            f"{robot.urdf}: PyBullet cannot load it; 'invdyn check-urdf {robot.urdf}' says more"
        ) from None


@contextmanager
def bullet_urdf(robot: Robot) -> Iterator[Path]:
    """Yield a file that PyBullet can read: the URDF of an arm, or a temporary copy.

    The copy has tool and payload of the arm, is no xacro file and in UTF-8.
    """
    root = parse_urdf(read_urdf_text(robot.urdf), str(robot.urdf))
    meshes = [
        (mesh, find_mesh(mesh.get("filename", ""), robot.urdf)) for mesh in root.iter("mesh")
    ]
    is_converted = any(file and file.suffix.lower() == COLLADA for _, file in meshes)
    if not (robot.has_additions or is_converted) and is_plain(robot.urdf):
        yield robot.urdf
        return
    robot.add_to(root)
    with TemporaryDirectory() as folder:
        for mesh, mesh_file in meshes:
            if mesh_file is not None:
                mesh.set("filename", str(bullet_mesh(mesh_file, Path(folder))))
        file = Path(folder) / f"{urdf_name(robot.urdf)}.urdf"
        file.write_bytes(ET.tostring(root, "utf-8"))
        yield file


def apply_plant(client: BulletClient, arm: PybulletArm, robot: Robot, plant: PlantConfig) -> None:
    """Set rotor inertia, viscous friction and payload of an arm, replacing those of another plant.

    Args:
        client: the PyBullet world.
        arm: the arm.
        robot: description of the arm.
        plant: parameters to apply.
    """
    for j, (mass, inertia) in plant_inertias(arm, robot, plant).items():
        client.changeDynamics(arm.body_id, j, mass=mass, localInertiaDiagonal=inertia)
    for j, damping in zip(arm.joints, plant.viscous * robot.effort, strict=True):  # [N m s/rad]
        client.changeDynamics(arm.body_id, j, jointDamping=damping)


def push_tip(client: BulletClient, arm: PybulletArm, wrench: Array) -> None:
    """Push the tip of an arm during the next physics step.

    Args:
        client: the PyBullet world.
        arm: the arm.
        wrench: (6,) force [N] and torque [N m] along the axes of the base.
    """
    position = client.getLinkState(arm.body_id, arm.tip)[4]
    frame = pybullet.WORLD_FRAME
    client.applyExternalForce(arm.body_id, arm.tip, wrench[:3].tolist(), position, frame)
    client.applyExternalTorque(arm.body_id, arm.tip, wrench[3:].tolist(), frame)


def plant_inertias(arm: PybulletArm, robot: Robot, plant: PlantConfig) -> dict[int, LinkInertia]:
    """Return the inertia of each link that the plant changes: that of the URDF plus its terms.

    A link can have several terms, such as the rotor of its joint and the payload.

    Args:
        arm: the arm.
        robot: description of the arm.
        plant: parameters of the simulated arm.
    """
    links = {j: arm.link_inertias[j] for j in (*arm.joints, arm.tip)}
    rotors = plant.rotor_inertia * robot.effort  # (n,) [kg m2]
    for j, axis, rotor in zip(arm.joints, arm.axes, rotors, strict=True):
        # PyBullet has no off-diagonal terms; these are exact about the joint's own axis
        diagonal = rotor * axis**2 / (axis**4).sum()
        links[j] = links[j]._replace(inertia=links[j].inertia + diagonal)
    mass, inertia = links[arm.tip]
    payload_inertia = 1e-4 * plant.payload  # of about 3 cm in size [kg m2]
    links[arm.tip] = LinkInertia(mass + plant.payload, inertia + payload_inertia)
    return links


def _rigid_groups(info: Sequence[tuple[Any, ...]]) -> dict[int, int]:
    """Return for each link the link of the nearest moving joint above it; -1 for the base.

    Args:
        info: PyBullet's description of each joint, parents before children.
    """
    groups = {-1: -1}
    for row in info:
        groups[row[0]] = groups[row[16]] if row[2] == pybullet.JOINT_FIXED else row[0]
    return groups


def _disable_adjacent_collisions(
    client: BulletClient, arm: PybulletArm, info: Sequence[tuple[Any, ...]]
) -> None:
    """Let links overlap that are fixed to each other or connected by a single moving joint.

    Args:
        client: the PyBullet world.
        arm: the arm.
        info: PyBullet's description of each joint.
    """
    groups = arm.groups
    parents = {row[0]: groups[row[16]] for row in info}  # of the link of a moving joint
    for a, b in combinations(groups, 2):
        first, second = groups[a], groups[b]
        is_finger_pair = first in arm.fingers and second in arm.fingers
        if (
            first == second
            or is_finger_pair
            or parents.get(first) == second
            or parents.get(second) == first
        ):
            client.setCollisionFilterPair(arm.body_id, arm.body_id, a, b, 0)


def _disable_collisions_at_home(client: BulletClient, arm: PybulletArm, robot: Robot) -> None:
    """Let links overlap that do so at home, as the convex hulls of bent links do.

    Such pairs are left out of clearances, too; see `CollisionModel.excluded`.

    Args:
        client: the PyBullet world.
        arm: the arm.
        robot: description of the arm.
    """
    for joint, position in zip(arm.joints, robot.home, strict=True):
        client.resetJointState(arm.body_id, joint, position)
    client.performCollisionDetection()
    contacts = client.getContactPoints(arm.body_id, arm.body_id)
    touching = {frozenset((arm.groups[c[3]], arm.groups[c[4]])) for c in contacts if c[8] < 0}
    for a, b in combinations(arm.groups, 2):
        if frozenset((arm.groups[a], arm.groups[b])) in touching:
            client.setCollisionFilterPair(arm.body_id, arm.body_id, a, b, 0)


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
    links = parse_urdf(read_urdf_text(urdf), str(urdf)).findall("link")
    return {link.get("name", "") for link in links if link.find("inertial") is None}

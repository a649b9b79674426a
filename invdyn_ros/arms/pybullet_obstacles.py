"""Obstacles in a PyBullet world, and the contacts of an arm with them and with itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from invdyn_ros.arms.pybullet_arm import PybulletArm
from invdyn_ros.arms.pybullet_client import BulletClient
from invdyn_ros.robots.obstacles import Box, Obstacles

TABLE = "table"
TABLE_FRICTION = 0.8
BOX_COLOR = (0.55, 0.6, 0.66, 1.0)  # RGBA
BASE = -1  # link index of the base of a body


class Contact(NamedTuple):
    """A contact of a link of the arm.

    Attributes:
        link: name of the link.
        other: name of the table, of the box, or of another link of the arm.
        distance: distance between the surfaces, negative where they overlap [m].
    """

    link: str
    other: str
    distance: float


def add_table(client: BulletClient) -> int:
    """Add the table, an infinite plane at z = 0, to a PyBullet world and return its body id."""
    body = client.createMultiBody(0, client.createCollisionShape(client.GEOM_PLANE))
    client.changeDynamics(body, -1, lateralFriction=TABLE_FRICTION)
    return int(body)


def add_box(client: BulletClient, box: Box) -> int:
    """Add a fixed box to a PyBullet world and return its body id."""
    half = [length / 2 for length in box.size]
    return int(
        client.createMultiBody(
            0,
            client.createCollisionShape(client.GEOM_BOX, halfExtents=half),
            client.createVisualShape(client.GEOM_BOX, halfExtents=half, rgbaColor=BOX_COLOR),
            basePosition=box.position,
            baseOrientation=client.getQuaternionFromEuler(box.rpy),
        )
    )


def add_obstacles(client: BulletClient, arm: PybulletArm, obstacles: Obstacles) -> dict[int, str]:
    """Add the table and the boxes to the world of an arm.

    The links that do not move may stand in the table.

    Args:
        client: the PyBullet world.
        arm: the arm.
        obstacles: table and boxes.

    Returns:
        Body id -> name.
    """
    names = {add_table(client): TABLE} if obstacles.table else {}
    names |= {add_box(client, box): box.name for box in obstacles.boxes}
    for body in names:
        for link, group in arm.groups.items():
            if group == BASE:
                client.setCollisionFilterPair(arm.body_id, body, link, BASE, 0)
    return names


def find_contacts(
    client: BulletClient, arm: PybulletArm, obstacles: Mapping[int, str], distance: float = 0.0
) -> tuple[Contact, ...]:
    """Return the contacts of an arm in the last physics step, with obstacles and with itself.

    Args:
        client: the PyBullet world.
        arm: the arm.
        obstacles: body id -> name of what counts besides the arm.
        distance: of surfaces that count as a contact, beside those that push each other [m].
    """
    contacts = {}
    for point in client.getContactPoints(bodyA=arm.body_id):
        body, link, other_link, gap, force = point[2], point[3], point[4], point[8], point[9]
        if force <= 0 and gap >= distance:
            continue  # near, but not touching
        if body == arm.body_id:
            other = arm.link_names[other_link]
        elif body in obstacles:
            other = obstacles[body]
        else:
            continue  # the block
        contacts[link, other] = Contact(arm.link_names[link], other, gap)
    return tuple(contacts.values())

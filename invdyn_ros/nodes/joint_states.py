"""Conversion between JointState messages and the state of joints and gripper."""

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

UNMEASURED = np.empty(0)


def joints_to_message(
    robot: Robot,
    stamp: Time,
    q: Array,
    opening: float,
    qd: Array = UNMEASURED,
    effort: Array = UNMEASURED,
) -> JointState:
    """Return the message of the state of an arm and its gripper.

    Args:
        robot: the arm.
        stamp: time of the measurement.
        q: (n,) position [rad].
        opening: distance of the finger pads [m], divided equally among the fingers.
        qd: (n,) velocity [rad/s], empty if not measured; that of the fingers is zero.
        effort: (n,) torque [N m], empty if not measured.
    """
    fingers = robot.gripper.joint_names if robot.gripper else ()
    zeros = np.zeros(len(fingers))
    return JointState(
        header=Header(stamp=stamp),
        name=[*robot.joint_names, *fingers],
        position=[*q.tolist(), *[opening / len(fingers) for _ in fingers]],
        velocity=[*qd.tolist(), *zeros] if qd.size else [],
        effort=[*effort.tolist(), *zeros] if effort.size else [],
    )


def joints_by_name(message: JointState, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Return position, velocity and effort of named joints, (n,) each, empty if absent.

    Raises:
        ValueError: a joint is missing.
    """
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing:
        raise ValueError(f"joint_states lacks {missing}; it has {list(message.name)}")
    order = [index[name] for name in names]
    columns = []
    for values in (message.position, message.velocity, message.effort):
        column = np.array(values, float)
        columns.append(column[order] if column.size == len(index) else np.empty(0))
    if columns[0].size != len(names):
        raise ValueError(
            f"joint_states names {len(index)} joints but has {len(message.position)} positions"
        )
    return columns[0], columns[1], columns[2]


def gripper_opening(message: JointState, robot: Robot) -> float:
    """Return the distance of the finger pads [m], zero without a gripper.

    Raises:
        ValueError: a finger is missing.
    """
    if robot.gripper is None:
        return 0.0
    return float(joints_by_name(message, robot.gripper.joint_names)[0].sum())

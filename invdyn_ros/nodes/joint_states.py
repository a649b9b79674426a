"""Conversion between JointState messages and the state of joints and gripper."""

from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState

from invdyn_ros.data.joint_states import (
    UNMEASURED,
    JointStateParts,
    JointValues,
    MissingJoints,
)
from invdyn_ros.nodes.messages import ForeignMessage, to_nanoseconds
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.typing import Array

MAX_POSITION = 100.0  # [rad] or [m] of a measured joint


def joints_to_message(
    names: RobotNames,
    stamp: Time,
    q: Array,
    opening: float,
    qd: Array = UNMEASURED,
    effort: Array = UNMEASURED,
) -> JointState:
    """Return the message of the state of an arm and its gripper.

    Args:
        names: names of joints and frames.
        stamp: time of the measurement.
        q: (n,) position [rad].
        opening: distance of the finger pads [m].
        qd: (n,) velocity [rad/s], empty if not measured; that of the fingers is zero.
        effort: (n,) torque [N m], empty if not measured.
    """
    fingers = names.finger_names
    zeros = np.zeros(len(fingers))
    return JointState(
        header=names.header(stamp),
        name=[*names.joint_names, *fingers],
        position=[*q.tolist(), *names.finger_positions(opening)],
        velocity=[*qd.tolist(), *zeros] if qd.size else [],
        effort=[*effort.tolist(), *zeros] if effort.size else [],
    )


def arm_to_message(
    names: RobotNames, stamp: Time, q: Array, qd: Array, effort: Array
) -> JointState:
    """Return the message of the state of an arm.

    Args:
        names: names of joints and frames.
        stamp: time of the state.
        q: (n,) position [rad].
        qd: (n,) velocity [rad/s].
        effort: (n,) torque [N m] or setpoint [rad].
    """
    return JointState(
        header=names.header(stamp),
        name=list(names.joint_names),
        position=q.tolist(),
        velocity=qd.tolist(),
        effort=effort.tolist(),
    )


class ArmJoints:
    """Reads the joints of one arm from joint states, whatever else is in them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Create a reader of named joints."""
        self._parts = JointStateParts(names)

    def __call__(self, message: JointState) -> JointValues | None:
        """Return the values that a message completes, None if it has only a part of the joints.

        Drivers give NaN or no values for what they do not measure. Positions may be NaN.

        Raises:
            ForeignMessage: a joint is missing or named twice, or arrays have different lengths.
        """
        columns = message.position, message.velocity, message.effort
        try:
            return self._parts.add(to_nanoseconds(message.header.stamp), message.name, columns)
        except ValueError as error:
            raise ForeignMessage(str(error)) from error


def joints_by_name(message: JointState, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Return position, velocity and effort of named joints, (n,) each, empty if not measured.

    Raises:
        ForeignMessage: as `ArmJoints`, or the message has only a part of the joints.
    """
    values = ArmJoints(names)(message)
    if values is None:
        missing = [name for name in names if name not in message.name]
        raise ForeignMessage(str(MissingJoints(missing, message.name)))
    return values.position, values.velocity, values.effort


def check_positions(q: Array) -> Array:
    """Return positions (n,) if they are plausible.

    Raises:
        ForeignMessage: they are not.
    """
    if not np.abs(q).max() < MAX_POSITION:
        raise ForeignMessage(f"joint_states has positions {q.tolist()}")
    return q


def positions_by_name(message: JointState, names: tuple[str, ...]) -> Array:
    """Return the positions (n,) of named joints.

    Raises:
        ForeignMessage: as `joints_by_name`, or a position is not plausible.
    """
    return check_positions(joints_by_name(message, names)[0])


def gripper_opening(message: JointState, names: RobotNames) -> float:
    """Return the distance of the finger pads [m], zero without a gripper.

    Raises:
        ForeignMessage: a finger is missing.
    """
    if not names.finger_names:
        return 0.0
    return names.opening(positions_by_name(message, names.finger_names).tolist())


class ArmState(NamedTuple):
    """State of an arm and its gripper.

    Attributes:
        stamp: time of the measurement of the arm [ns].
        q: (n,) position [rad].
        qd: (n,) velocity [rad/s], empty if not measured.
        opening: distance of the finger pads [m].
    """

    stamp: int
    q: Array
    qd: Array
    opening: float


class JointStateReader:
    """Joins the joint states of an arm with those of its gripper, which may be other messages."""

    def __init__(self, names: RobotNames) -> None:
        self.names, self.joints = names, ArmJoints(names.joint_names)
        self.opening = None if names.finger_names else 0.0

    def __call__(self, message: JointState) -> ArmState | None:
        """Return the state in a message with the last opening.

        Returns:
            None if the message is the gripper's, or has only a part of the joints.

        Raises:
            ForeignMessage: neither arm nor gripper is in the message, or values are not finite.
        """
        joints, fingers, received = (
            self.names.joint_names,
            self.names.finger_names,
            {*message.name},
        )
        if fingers and set(fingers) <= received:
            self.opening = gripper_opening(message, self.names)
            if not received & set(joints):
                return None
        values = self.joints(message)
        if values is None:
            return None
        q = check_positions(values.position)
        if self.opening is None:
            raise ForeignMessage("no message on joint_states has the joints of the gripper yet")
        return ArmState(values.stamp, q, values.velocity, self.opening)

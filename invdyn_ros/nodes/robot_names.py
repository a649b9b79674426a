"""Names of joints and frames in messages: those of the robot, with the prefix of its driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from builtin_interfaces.msg import Time
from pydantic import Field
from std_msgs.msg import Header

from invdyn_ros.config import Validated
from invdyn_ros.graph.names import CAMERA_FRAME, FrameName

if TYPE_CHECKING:
    from invdyn_ros.robots.robot import Gripper, Robot
    from invdyn_ros.typing import Array


@dataclass(frozen=True)
class NamesConfig(Validated):
    """Parameter of nodes whose messages name joints or frames.

    Attributes:
        tf_prefix: prefix of all joints and frames, the same as that of the arm's driver.
        joint_map: pairs NAME=NAME_OF_DRIVER, separated by spaces, of joints that the driver of the
            arm names differently.
    """

    tf_prefix: FrameName = ""
    joint_map: Annotated[str, Field(pattern=r"^([^ =]+=[^ =]+( [^ =]+=[^ =]+)*)?$")] = ""

    def joint(self, name: str) -> str:
        """Return the name of a joint in messages."""
        joints = dict(pair.split("=") for pair in self.joint_map.split())
        return joints.get(name) or self.frame(name)

    def frame(self, name: str) -> str:
        """Return the name of a frame in messages."""
        return self.tf_prefix + name


@dataclass(frozen=True)
class CameraNamesConfig(NamesConfig):
    """Parameters of nodes that take or send images, too.

    Attributes:
        camera_frame: frame of the images; empty: camera_optical_frame with the prefix.
    """

    camera_frame: FrameName = ""

    @property
    def image_frame(self) -> str:
        """Frame of the images in messages."""
        return self.camera_frame or self.frame(CAMERA_FRAME)


@dataclass(frozen=True)
class RobotNames:
    """Names of a robot in messages.

    Attributes:
        joint_names: names of the arm's joints, in its order.
        finger_names: names of the gripper's joints; empty without a gripper.
        base_link: frame of the base.
        namespace: of the nodes of the robot's graph.
        gripper: of the arm.
    """

    joint_names: tuple[str, ...]
    finger_names: tuple[str, ...] = ()
    base_link: str = "base_link"
    namespace: str = "/"
    gripper: Gripper | None = None

    @classmethod
    def of(
        cls, robot: Robot, config: NamesConfig | None = None, namespace: str = "/"
    ) -> RobotNames:
        """Return the names of a robot.

        Args:
            robot: the robot.
            config: prefix; None for none.
            namespace: of the nodes of its graph.
        """
        config = config or NamesConfig()
        fingers = robot.gripper.joint_names if robot.gripper else ()
        return cls(
            tuple(map(config.joint, robot.joint_names)),
            tuple(map(config.frame, fingers)),
            config.frame(robot.base_link),
            namespace,
            robot.gripper,
        )

    def finger_positions(self, opening: float) -> list[float]:
        """Return the positions of the finger joints at an opening [m]."""
        return self.gripper.positions(opening) if self.gripper else []

    def opening(self, positions: Sequence[float]) -> float:
        """Return the opening [m] at positions of the finger joints; zero without a gripper."""
        return self.gripper.opening(positions) if self.gripper else 0.0

    def positions(self, q: Array, opening: float) -> dict[str, float]:
        """Return joint name -> position.

        Args:
            q: (n,) position of the arm [rad].
            opening: distance of the finger pads [m].
        """
        fingers = zip(self.finger_names, self.finger_positions(opening), strict=True)
        return dict(zip(self.joint_names, q.tolist(), strict=True)) | dict(fingers)

    def header(self, stamp: Time) -> Header:
        """Return the header of a state of the robot, in the frame of its base."""
        return Header(stamp=stamp, frame_id=self.base_link)

"""Motion player node: joint targets along a motion of a file, and a dataset of the arm."""

from dataclasses import dataclass
from pathlib import Path

from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.joint_motion import load_motion
from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, JOINT_STATES, JOINT_TARGET
from invdyn_ros.nodes.joint_states import ArmJoints, check_positions
from invdyn_ros.nodes.messages import SHARED_DEPTH, latest_qos, target_to_message
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import (
    DiagnosticNode,
    NodeFailed,
    NodeFinished,
    load_parameters,
    run,
)
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.excitation.motion_player import MotionPlayer
from invdyn_ros.sources.inspection.collected_dataset import write_collection
from invdyn_ros.sources.played_motion import played_collection


@dataclass(frozen=True)
class MotionPlayerNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of one.
        motion: .npz file of 'invdyn excite'.
        out: dataset folder to write.
        effort_unit: unit of the effort in joint states.
    """

    motion: str
    out: str
    arm: str = "ur5"
    effort_unit: str = "N m"


class MotionPlayerNode(DiagnosticNode):
    """Publish a target for each joint state once the arm is driven; end with the motion."""

    def __init__(self) -> None:
        super().__init__("motion_player")
        self.config = load_parameters(self, MotionPlayerNodeConfig)
        self.robot = robot = load_robot(self.config.arm)
        names = load_parameters(self, NamesConfig)
        self.names = RobotNames.of(robot, names, self.get_namespace())
        self.player = MotionPlayer(load_motion(Path(self.config.motion), robot))
        self.joints = ArmJoints(self.names.joint_names)
        self.planned = ArmJoints(self.names.joint_names)
        self.publisher = self.create_publisher(JointTrajectory, JOINT_TARGET, 10)
        self.create_subscription(
            JointState, DESIRED_JOINT_STATE, self.on_desired, latest_qos(False)
        )
        self.create_subscription(
            JointState, JOINT_STATES, self.on_joint_state, SHARED_DEPTH, is_input=True
        )

    def on_desired(self, message: JointState) -> None:
        """Note the planned state of the arm."""
        values = self.planned(message)
        if values is not None:
            self.player.set_planned(1e-9 * values.stamp, values.position)

    def on_joint_state(self, message: JointState) -> None:
        """Publish the target for a joint state.

        Raises:
            NodeFinished: the motion is over, and its recording is written.
            NodeFailed: the arm stopped, or left the motion.
        """
        values = self.joints(message)
        if values is None:
            return
        q = check_positions(values.position)
        try:
            target = self.player.update(1e-9 * values.stamp, q, values.velocity, values.effort)
            if self.player.is_over:
                collection = played_collection(self.player, self.robot, self.config.effort_unit)
                for line in write_collection(Path(self.config.out), collection):
                    self.get_logger().info(line)
                raise NodeFinished
        except (ValueError, OSError) as error:
            self.get_logger().error(str(error))
            raise NodeFailed from None
        self.hold(self.player.hold_reason)
        self.publisher.publish(target_to_message(target, self.names, message.header.stamp))


def main() -> None:
    """Run the node."""
    run(MotionPlayerNode)


if __name__ == "__main__":
    main()

"""Node with the description and the frames of a real arm whose driver does not publish them."""

from dataclasses import dataclass

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from invdyn_ros.graph.topics import JOINT_STATES, ROBOT_DESCRIPTION
from invdyn_ros.nodes.messages import to_nanoseconds
from invdyn_ros.nodes.robot_names import NamesConfig
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.nodes.state_publisher import StatePublisher
from invdyn_ros.robots.robot import load_robot

ANOTHER = "another node publishes robot_description; leave out description:=true"
STATE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class RobotStateNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
    """

    arm: str = "ur5"


class RobotStateNode(DiagnosticNode):
    """Publish `robot_description`, `/tf_static` and, from the joint states, `/tf`."""

    def __init__(self) -> None:
        super().__init__("robot_state")
        config = load_parameters(self, RobotStateNodeConfig)
        prefix = load_parameters(self, NamesConfig).tf_prefix
        self.state = StatePublisher(self, load_robot(config.arm), prefix)
        self.create_subscription(JointState, JOINT_STATES, self.on_joint_state, STATE_QOS)
        self.create_timer(1.0, self.on_timer)

    def on_joint_state(self, message: JointState) -> None:
        """Publish the frames of a joint state; joints of any device may be missing."""
        stamp = to_nanoseconds(message.header.stamp)
        if self.state.is_due(stamp):
            positions = dict(zip(message.name, message.position, strict=False))
            self.state.publish(stamp, positions)

    def on_timer(self) -> None:
        """Hold while two nodes describe the arm."""
        is_doubled = self.count_publishers(ROBOT_DESCRIPTION) > 1
        self.hold(ANOTHER if is_doubled else None)


def main() -> None:
    """Run the node."""
    run(RobotStateNode)


if __name__ == "__main__":
    main()

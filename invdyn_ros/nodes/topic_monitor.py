"""Check of the other nodes on the topics of one arm: who else commands it, and who listens."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from invdyn_ros.control.faults import CONTRADICTION, JUMPED, STAMPS_JUMPED, Fault
from invdyn_ros.graph.names import in_namespace
from invdyn_ros.graph.topics import COMMANDS, JOINT_STATES, JOINT_TARGET

if TYPE_CHECKING:
    from invdyn_ros.nodes.runner import DiagnosticNode

SEVERAL_COMMANDERS = "several publishers of commands"
SAME_NAME = "two nodes of one name"
NO_LISTENER = "no controller listens to commands"
SEVERAL_SOURCES = "two publishers of joint states"
SEVERAL_TARGETS = "two publishers of targets"
OBSERVERS = ("report", "view", "rosbag2", "foxglove", "_ros2cli")
"""First letters of the names of nodes that listen to commands but move nothing."""
ACTION_STATUS = "/_action/status"
"""Topic that whoever executes the goals of an action publishes."""
UNKNOWN = "a node not discovered yet"
CHECK_PERIOD = 0.05  # [s]
# faults that two publishers of joint states cause
TWO_SOURCES = (SEVERAL_SOURCES, JUMPED, STAMPS_JUMPED, CONTRADICTION)
NUM_STEPS = 20  # joint states in a row whose stamps are compared
MAX_BACKWARD = 5  # of them that may be older than the one before
MIN_STEP = 0.7  # mean step of stamps of one publisher, of that while it was alone [-]


def find_command_topic(unit: str, checkpoint: str) -> str:
    """Return the topic for the actions of a model.

    Raises:
        ValueError: no controller takes actions in this unit.
    """
    if unit not in COMMANDS:
        raise ValueError(
            f"checkpoint {checkpoint} has actions in '{unit}'; controllers take {sorted(COMMANDS)}"
        )
    return COMMANDS[unit]


class StampMonitor:
    """Tells from the stamps whether two nodes publish the joint states of one arm.

    The number of publishers does not tell: a gripper may publish its joints on the same topic.
    """

    def __init__(self, rate: float) -> None:
        """Create a monitor of joint states that come at a rate [Hz] unless measured otherwise."""
        self._last: int | None = None  # stamp [ns]
        self._steps: deque[int] = deque(maxlen=NUM_STEPS)  # [ns]
        self._step_alone = 1e9 / rate  # [ns]

    def add(self, stamp: int) -> None:
        """Add the stamp of a joint state of the arm [ns]."""
        if self._last is not None:
            self._steps.append(stamp - self._last)
        self._last = stamp

    def is_doubled(self, num_publishers: int) -> bool:
        """Return whether the newest joint states come from two nodes.

        Args:
            num_publishers: of the topic, with those of other joints.
        """
        if len(self._steps) < NUM_STEPS:
            return False
        step = sum(self._steps) / NUM_STEPS
        if num_publishers < 2:
            self._step_alone = step
            return False
        backward = sum(step <= 0 for step in self._steps)
        return backward > MAX_BACKWARD or step < MIN_STEP * self._step_alone


class TopicMonitor:
    """Finds nodes that must not be there, or are missing, on the topics of an arm.

    Attributes:
        stamps: stamps of the joint states.
    """

    def __init__(
        self, node: DiagnosticNode, command_topic: str, rate: float, is_action: bool = False
    ) -> None:
        """Monitor the topics of a node that alone publishes commands for an arm.

        Args:
            node: the node.
            command_topic: topic of its commands.
            rate: rate of the joint states [Hz].
            is_action: whether the commands are goals of an action, and the topic is its name.
        """
        self.node, self.command_topic, self._is_action = node, command_topic, is_action
        self.stamps = StampMonitor(rate)

    def publishers(self, topic: str) -> str:
        """Return the names of the nodes that publish on a topic, in words."""
        infos = self.node.get_publishers_info_by_topic(topic)
        names = [in_namespace(info.node_namespace, info.node_name) for info in infos]
        return ", ".join(sorted(UNKNOWN if "UNKNOWN" in name else name for name in names))

    def targets_problem(self) -> str | None:
        """Return why targets are not followed, None if one node at most publishes them."""
        if self.node.count_publishers(JOINT_TARGET) < 2:
            return None
        names = self.publishers(JOINT_TARGET)
        return SEVERAL_TARGETS if UNKNOWN in names else f"{SEVERAL_TARGETS}: {names}"

    def commander(self) -> Fault | None:
        """Return the fault that another node may command the arm, None if there is none."""
        count = self.node.count_publishers(self.command_topic)
        if count > 1:
            return Fault(SEVERAL_COMMANDERS, None, count, 1, "publishers")
        count = self.node.nodes_of_this_name()
        if count > 1:
            return Fault(SAME_NAME, self.node.get_fully_qualified_name(), count, 1, "nodes")
        return None

    def source(self) -> Fault | None:
        """Return the fault that two nodes publish the joint states, None if one does."""
        count = self.node.count_publishers(JOINT_STATES)
        if not self.stamps.is_doubled(count):
            return None
        return Fault(SEVERAL_SOURCES, None, count, 1, "publishers")

    def listener(self) -> Fault | None:
        """Return the fault that nobody takes the commands, None if somebody does."""
        if self._is_action:
            has_listener = self.node.count_publishers(f"{self.command_topic}{ACTION_STATUS}") > 0
        else:
            infos = self.node.get_subscriptions_info_by_topic(self.command_topic)
            has_listener = any(not info.node_name.startswith(OBSERVERS) for info in infos)
        if has_listener:
            return None
        topic = self.node.resolve_topic_name(self.command_topic)
        return Fault(NO_LISTENER, topic, 0, 1, "subscribers")

    def describe(self, fault: Fault) -> str:
        """Return a fault in words, with the nodes that may have caused it."""
        topic = JOINT_STATES if fault.reason in TWO_SOURCES else self.command_topic
        is_topic = fault.reason in (*TWO_SOURCES, SEVERAL_COMMANDERS)
        if not is_topic or self.node.count_publishers(topic) < 2:
            return str(fault)
        name = self.node.resolve_topic_name(topic)
        return f"{fault}; publishers of {name}: {self.publishers(topic)}"

    def refusal(self) -> str | None:
        """Return why the arm must not be engaged, None if it may."""
        doubled = self.commander() or self.source()
        if doubled is not None:
            return f"{self.describe(doubled)}; end one of them"
        if (missing := self.listener()) is not None:
            return (
                f"no controller listens on {missing.joint}; start the driver of the arm and "
                "activate this controller"
            )
        return None

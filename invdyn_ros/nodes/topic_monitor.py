"""Check of the other nodes on the topics of one arm: who else commands it, and who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invdyn_ros.control.faults import CONTRADICTION, JUMPED, STAMPS_JUMPED, Fault

if TYPE_CHECKING:
    from invdyn_ros.nodes.runner import DiagnosticNode

JOINT_STATES, JOINT_TARGET = "/joint_states", "/joint_target"
SEVERAL_COMMANDERS = "several publishers of commands"
SAME_NAME = "two nodes of one name"
NO_LISTENER = "no controller listens to commands"
SEVERAL_TARGETS = "two publishers of targets"
CHECK_PERIOD = 0.05  # [s]
TWO_SOURCES = (JUMPED, STAMPS_JUMPED, CONTRADICTION)  # faults that two publishers cause


class TopicMonitor:
    """Finds nodes that must not be there, or are missing, on the topics of an arm."""

    def __init__(self, node: DiagnosticNode, command_topic: str) -> None:
        """Monitor the topics of a node that alone publishes commands for an arm."""
        self.node, self.command_topic = node, command_topic

    def publishers(self, topic: str) -> str:
        """Return the names of the nodes that publish on a topic, in words."""
        infos = self.node.get_publishers_info_by_topic(topic)
        return ", ".join(sorted(f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in infos))

    def targets_problem(self) -> str | None:
        """Return why targets are not followed, None if one node publishes them."""
        if self.node.count_publishers(JOINT_TARGET) < 2:
            return None
        return f"{SEVERAL_TARGETS}: {self.publishers(JOINT_TARGET)}"

    def commander(self) -> Fault | None:
        """Return the fault that another node may command the arm, None if there is none."""
        count = self.node.count_publishers(self.command_topic)
        if count > 1:
            names = f"{self.publishers(self.command_topic)} on {self.command_topic}"
            return Fault(SEVERAL_COMMANDERS, names, count, 1, "publishers")
        count = self.node.nodes_of_this_name()
        if count > 1:
            return Fault(SAME_NAME, self.node.get_fully_qualified_name(), count, 1, "nodes")
        return None

    def listener(self) -> Fault | None:
        """Return the fault that nobody takes the commands, None if somebody does."""
        if self.node.count_subscribers(self.command_topic):
            return None
        return Fault(NO_LISTENER, self.command_topic, 0, 1, "subscribers")

    def describe(self, fault: Fault) -> str:
        """Return a fault in words, with the publishers of joint states if it may be theirs."""
        if fault.reason in TWO_SOURCES and self.node.count_publishers(JOINT_STATES) > 1:
            return f"{fault}; {JOINT_STATES} is published by {self.publishers(JOINT_STATES)}"
        return str(fault)

    def refusal(self) -> str | None:
        """Return why the arm must not be engaged, None if it may."""
        commander = self.commander()
        if commander is not None:
            return f"{commander.reason}: {commander.joint}; end one of them"
        if self.listener() is not None:
            return (
                f"no controller listens on {self.command_topic}; start the driver of the arm and "
                "activate this controller"
            )
        return None

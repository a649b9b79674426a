"""Start a node, keep it alive, end it with one clear line: what every node's `main` calls."""

import gc
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from invdyn_ros.config import from_mapping

T = TypeVar("T")
HOLDS = "holds: "  # diagnostics keys that count how often a node held, by reason


class Done(Exception):
    """A node's work is finished; its process ends with code 0."""


def parameters(node: Node, config: type[T]) -> T:
    """Declare one ROS parameter per field of a dataclass and return the dataclass filled.

    Raises:
        ValueError: a value has the wrong type or is out of range; names the parameter.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    loose = ParameterDescriptor(dynamic_typing=True)  # 10 is not 10.0 to rclpy; it is to us
    values: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        given = node.declare_parameter(field.name, descriptor=loose)
        if given.type_ != Parameter.Type.NOT_SET:
            values[field.name] = given.value
    return from_mapping(config, values, f"parameters of node '{node.get_name()}'")


class CheckedNode(Node):
    """A node that publishes diagnostics once a second and checks the types of its topics."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.values: dict[str, str] = {}
        self.problem: str | None = None
        self.holds: Counter[str] = Counter()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._every_second)

    def connected(self, topics: str) -> bool:
        """Say whether each of some topics, parted by spaces, has both ends."""
        return all(
            self.count_publishers(topic) and self.count_subscribers(topic)
            for topic in topics.split()
        )

    def hold(self, reason: str | None) -> None:
        """Note why the node holds its output (None: it does not) and say so once per change."""
        if reason == self.problem:
            return
        self.problem = reason
        if reason is None:
            self.get_logger().info("following again")
        else:
            self.holds[reason] += 1
            self.values[f"{HOLDS}{reason}"] = str(self.holds[reason])
            self.get_logger().warning(f"holding: {reason}")

    def _every_second(self) -> None:
        self._check_types()
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK if self.problem is None else DiagnosticStatus.WARN,
            name=self.get_name(),
            message=self.problem or "ok",
            values=[KeyValue(key=k, value=v) for k, v in self.values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _check_types(self) -> None:
        for subscription in self.subscriptions:
            wanted = _type_name(subscription.msg_type)
            for info in self.get_publishers_info_by_topic(subscription.topic_name):
                if info.topic_type != wanted:
                    raise ValueError(
                        f"topic {subscription.topic_name} carries {info.topic_type} from node "
                        f"'{info.node_name}', but must carry {wanted}"
                    )


def _type_name(message: Any) -> str:
    package, kind = message.__module__.split(".")[:2]
    return f"{package}/{kind}/{message.__name__}"


def run(make: Callable[[], Node]) -> None:
    """Run a node until it ends: code 0 if done or interrupted, 2 on bad input.

    A node with a method `spin_once(executor)` paces itself; any other is spun on its callbacks.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    name = getattr(make, "__name__", "node")
    code = 0
    executor = None
    try:
        rclpy.init(args=sys.argv)
        executor = SingleThreadedExecutor()
        node = make()
        name = node.get_name()
        executor.add_node(node)
        gc.collect()
        gc.freeze()  # the collector need not look again at what lives as long as the node
        spin = getattr(node, "spin_once", None)
        while rclpy.ok():
            if spin is not None:
                spin(executor)
            else:
                executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException, Done, SystemExit):
        pass
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        code = 2
    finally:
        close = getattr(locals().get("node"), "close", None)
        if close is not None:
            close()
        if executor is not None:
            executor.shutdown(timeout_sec=0.5)
        rclpy.try_shutdown()
        gc.unfreeze()  # else native libraries complain of leaks
    sys.exit(code)

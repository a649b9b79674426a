"""Node whose callbacks may raise errors, and whose topics are remapped wherever it names them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.nodes.parameters import with_declared_type


class CallbackNode(Node, ABC):  # type: ignore[misc]
    """Node whose loop raises what a callback raised.

    Attributes:
        missing_inputs: names of the topics of which the node needs a first message.
        exception: exception of a callback, which `NodeLoop` raises.
    """

    exception: BaseException | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.missing_inputs: list[str] = []

    @abstractmethod
    def ignore(self, topic: str, reason: str) -> None:
        """Note a message that the node cannot use.

        Args:
            topic: name of its topic.
            reason: why the node cannot use it.
        """

    @abstractmethod
    def on_input(self) -> None:
        """Note that the first message of an input has come."""

    def create_subscription(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[[Any], None],
        qos_profile: QoSProfile | int,
        is_input: bool = False,
        **options: Any,
    ) -> Any:
        """Create a subscription; an exception of its callback ends the node.

        The exception `ForeignMessage` means that the message is ignored.

        Args:
            msg_type: type of the messages.
            topic: name of the topic.
            callback: called with each message.
            qos_profile: quality of service, or the queue depth.
            is_input: whether the status is STALE until a message has come that can be used.
            **options: further options of rclpy.
        """
        name = self.resolve_topic_name(topic)
        if is_input:
            self.missing_inputs.append(name)

        def on_message(message: Any) -> None:
            try:
                callback(message)
            except ForeignMessage as error:
                self.ignore(name, str(error))
            else:
                if self.missing_inputs and name in self.missing_inputs:
                    self.missing_inputs.remove(name)
                    self.on_input()

        on_message = self._store_exception(on_message)
        return super().create_subscription(msg_type, topic, on_message, qos_profile, **options)

    def create_timer(
        self, timer_period_sec: float, callback: Callable[..., Any], *options: Any, **named: Any
    ) -> Any:
        """Create a timer of real time, also with `use_sim_time`; an exception ends the node.

        Args:
            timer_period_sec: period [s].
            callback: called in each period.
            *options: further options of rclpy.
            **named: further options of rclpy.
        """
        callback = self._store_exception(callback)
        # a watchdog must notice that simulated time stands still
        named = {"clock": Clock(clock_type=ClockType.STEADY_TIME), **named}
        return super().create_timer(timer_period_sec, callback, *options, **named)

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any
    ) -> Any:
        """Create a service; an exception of its callback ends the node.

        Args:
            srv_type: type of the service.
            srv_name: name of the service.
            callback: called with each request and the response to fill.
            **options: further options of rclpy.
        """
        callback = self._store_exception(callback)
        return super().create_service(srv_type, srv_name, callback, **options)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters at once; an integer is accepted for a float."""
        converted = [with_declared_type(self, parameter) for parameter in parameter_list]
        return super().set_parameters_atomically(converted)

    def count_publishers(self, topic_name: str) -> int:
        """Return the number of publishers of a topic, whose name is remapped like all others."""
        return int(super().count_publishers(self.resolve_topic_name(topic_name)))

    def count_subscribers(self, topic_name: str) -> int:
        """Return the number of subscribers of a topic, whose name is remapped like all others."""
        return int(super().count_subscribers(self.resolve_topic_name(topic_name)))

    def topics_connected(self, topics: str) -> bool:
        """Return whether each topic, separated by spaces, has a publisher and a subscriber."""
        return all(
            self.count_publishers(topic) and self.count_subscribers(topic)
            for topic in topics.split()
        )

    @property
    def uses_simulated_time(self) -> bool:
        """Whether the node's clock is that of /clock."""
        return bool(self.get_parameter("use_sim_time").value)

    def nodes_of_this_name(self) -> int:
        """Return the number of running nodes with the full name of this one, itself included."""
        name = (self.get_name(), self.get_namespace())
        return sum(other == name for other in self.get_node_names_and_namespaces())

    def _store_exception(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Store the exception of a callback, SystemExit too; rclpy would print a traceback."""

        @wraps(callback)
        def call(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except BaseException as error:
                self.exception = self.exception or error

        return call

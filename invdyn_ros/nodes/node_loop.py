"""Main loop of a node."""

from collections.abc import Callable
from contextlib import suppress

from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node

IDLE_TIME = 0.2  # [s] after which a signal is noticed, which does not wake the executor
Spin = Callable[[float], None]  # wait for a message, at most a timeout [s], and handle it


class NodeLoop:
    """Main loop of a node, on the rclpy executor that needs the least CPU time.

    Attributes:
        is_terminated: whether the process got SIGINT or SIGTERM, so that the next `spin` ends the
            node. An exception of the signal handler would interrupt a callback, of which rclpy
            prints a traceback.
    """

    def __init__(self, node: Node) -> None:
        self.node, self.is_terminated = node, False
        self.executor = _create_executor()
        self.executor.add_node(node)

    def step(self) -> None:
        """Call the node's method `step(spin)` if it has one, else spin."""
        step = getattr(self.node, "step", None)
        if step is None:
            self.spin(IDLE_TIME)
        else:
            step(self.spin)

    def spin(self, timeout: float) -> None:
        """Handle one message or timer within a timeout [s]; raise what its callback raised.

        Raises:
            SystemExit: the process got SIGINT or SIGTERM.
        """
        self.executor.spin_once(timeout)
        if self.is_terminated:
            raise SystemExit
        exception = getattr(self.node, "exception", None)
        if exception is not None:
            raise exception

    def close(self) -> None:
        """Shut the executor down; after a signal call the node's method `end(spin)` before.

        That brings an arm to rest.
        """
        end = getattr(self.node, "end", None)
        if self.is_terminated and end is not None:
            with suppress(ValueError, OSError):  # the process ends anyway
                end(self.executor.spin_once)
        self.executor.shutdown(timeout_sec=0.5)


def _create_executor() -> Executor:
    try:
        # SingleThreadedExecutor builds its wait set anew for each message
        from rclpy.experimental import EventsExecutor
    except ImportError:  # rclpy before 7.1.5
        return SingleThreadedExecutor()
    return EventsExecutor()

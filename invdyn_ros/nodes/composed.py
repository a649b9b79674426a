"""Composed process: runs several nodes of a graph in threads of one process, to save memory.

`python -m invdyn_ros.nodes.composed pose retarget camera --ros-args ...` creates them in this
order. They share the parameters of the process; each takes those that it declares.
"""

import gc
import importlib
import sys
import threading
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from invdyn_ros.graph.composition import COMPOSABLE
from invdyn_ros.nodes.node_loop import NodeLoop
from invdyn_ros.nodes.runner import NodeFinished, run

POLL_PERIOD = 0.1  # [s]
END_TIMEOUT = 1.0  # [s] in which all threads must end


class ComposedNodes:
    """The nodes of this process, created one after the other."""

    def __init__(self, names: Sequence[str]) -> None:
        """Create nodes.

        Args:
            names: their modules in `invdyn_ros.nodes`.

        Raises:
            ValueError: one of them cannot share a process, or got a bad parameter.
        """
        for name in names:
            if name not in COMPOSABLE:
                raise ValueError(f"no node '{name}' shares a process; {', '.join(COMPOSABLE)} do")
        self.nodes = [create_node(name) for name in names]

    def get_name(self) -> str:
        """Return the name of the process in messages."""
        return "composed"


class NodeThread(threading.Thread):
    """Thread that runs a node until it ends.

    Attributes:
        loop: main loop of the node.
        is_over: whether the node has ended.
        error: why it failed; None if it did not.
    """

    def __init__(self, node: Node, ended: threading.Event) -> None:
        super().__init__(name=node.get_name(), daemon=True)
        self.node, self.loop, self.ended = node, NodeLoop(node), ended
        self.is_over = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the node, and remove it from the graph at its end."""
        try:
            while rclpy.ok():
                self.loop.step()
        except (NodeFinished, SystemExit, ExternalShutdownException):
            pass
        except BaseException as error:  # the main thread raises it
            self.error = error
        finally:
            self.loop.close()
            if (close := getattr(self.node, "close", None)) is not None:
                close()
            if rclpy.ok():
                self.node.destroy_node()
                gc.collect()  # handles in cycles would keep the node in the graph
            self.is_over = True
            self.ended.set()


class ComposedLoop:
    """Main loop of the process: waits until a node fails or all have ended.

    Attributes:
        is_terminated: whether the process got SIGTERM.
    """

    def __init__(self, composed: ComposedNodes) -> None:
        self.is_terminated = False
        self.ended = threading.Event()
        self.threads = [NodeThread(node, self.ended) for node in composed.nodes]
        for thread in self.threads:
            thread.start()

    def step(self) -> None:
        """Wait a while.

        Raises:
            NodeFinished: all nodes have finished.
            SystemExit: the process got SIGTERM.
        """
        if self.ended.wait(POLL_PERIOD):
            self.ended.clear()
            for thread in self.threads:
                if thread.error is not None:
                    raise thread.error
            if all(thread.is_over for thread in self.threads):
                raise NodeFinished
        if self.is_terminated:
            raise SystemExit

    def close(self) -> None:
        """End all nodes."""
        for thread in self.threads:
            thread.loop.is_terminated = True
        end = time.monotonic() + END_TIMEOUT
        for thread in self.threads:
            thread.join(max(end - time.monotonic(), 0.0))


def create_node(name: str) -> Node:
    """Create a node, whose class is named as its module."""
    module = importlib.import_module(f"invdyn_ros.nodes.{name}")
    node: Node = getattr(module, f"{name.title().replace('_', '')}Node")()
    return node


def _create_nodes() -> ComposedNodes:
    return ComposedNodes(remove_ros_args(sys.argv)[1:])


def main() -> None:
    """Run the nodes."""
    run(_create_nodes, ComposedLoop)


if __name__ == "__main__":
    main()

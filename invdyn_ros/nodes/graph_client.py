"""Client of a running graph, for machines without the ROS 2 command line."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from invdyn_ros.config import Validated
from invdyn_ros.graph.launcher import child_environment
from invdyn_ros.graph.names import Namespace, in_namespace

TIMEOUT = 5.0  # [s] for discovery, which DDS repeats every 3 s, and again for an answer


@dataclass(frozen=True, kw_only=True)
class GraphOptions(Validated):
    """Which graph to call."""

    domain: Annotated[int, Field(ge=-1, le=232)] = -1
    """ROS_DOMAIN_ID of the graph, 0 to 232; -1: that of the shell."""
    namespace: Namespace = ""
    """Namespace of the graph; default: none."""


class GraphClient(AbstractContextManager["GraphClient"]):
    """A node that lives as long as one command.

    Attributes:
        node: the node.
        domain: ROS_DOMAIN_ID.
        namespace: namespace of the graph.
    """

    def __init__(self, options: GraphOptions) -> None:
        """Join the domain of a graph."""
        os.environ.update(child_environment(os.environ))  # before rclpy is imported
        if options.domain >= 0:
            os.environ["ROS_DOMAIN_ID"] = str(options.domain)
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        self.domain, self.namespace = os.environ.get("ROS_DOMAIN_ID", "0"), options.namespace
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("graph_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __exit__(self, *_: object) -> None:
        import rclpy

        self._executor.shutdown(timeout_sec=0.5)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def name(self, relative: str) -> str:
        """Return the full name of a topic or service of the graph."""
        return in_namespace(self.namespace, relative)

    def spin(self, seconds: float) -> None:
        """Handle messages for a time [s]."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            self._executor.spin_once(remaining)

    def spin_once(self, timeout: float) -> None:
        """Handle one message within a timeout [s]."""
        self._executor.spin_once(timeout)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Return the answer of a service.

        Args:
            kind: type of the service.
            name: name of the service in its namespace.
            request: the request.

        Raises:
            ValueError: nobody answers.
        """
        client = self.node.create_client(kind, self.name(name))
        if client.wait_for_service(TIMEOUT):
            future = client.call_async(request)
            self._executor.spin_until_future_complete(future, timeout_sec=TIMEOUT)
            if future.done():
                return future.result()
        raise self.no_answer(name)

    def no_answer(self, name: str) -> ValueError:
        """Return the error that nobody answers on a topic or service."""
        return ValueError(
            f"nobody answers on {self.name(name)} in domain {self.domain}; start a graph with "
            "'invdyn launch', or give its --domain and --namespace"
        )

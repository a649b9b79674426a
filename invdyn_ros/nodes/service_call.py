"""Call of a service of a running graph, for machines without the ROS 2 command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from invdyn_ros.config import Validated
from invdyn_ros.graph.launcher import child_environment
from invdyn_ros.graph.names import Namespace, in_namespace
from invdyn_ros.graph.topics import ENGAGE, STOP

TIMEOUT = 5.0  # [s] for discovery, which DDS repeats every 3 s, and again for the answer


@dataclass(frozen=True, kw_only=True)
class ServiceOptions(Validated):
    """Which graph to call."""

    domain: Annotated[int, Field(ge=-1, le=232)] = -1
    """ROS_DOMAIN_ID of the graph, 0 to 232; -1: that of the shell."""
    namespace: Namespace = ""
    """Namespace of the graph; default: none."""


def engage_arm(options: ServiceOptions, engaged: bool) -> int:
    """Engage or disengage the arm of a graph; print the answer and return the exit code.

    Raises:
        ValueError: nobody answers.
    """
    from std_srvs.srv import SetBool  # slow to import

    request = SetBool.Request(data=engaged)
    return call_service(options, SetBool, ENGAGE, request)


def stop_arm(options: ServiceOptions) -> int:
    """Stop the arm of a graph; print the answer and return the exit code.

    Raises:
        ValueError: nobody answers.
    """
    from std_srvs.srv import Trigger  # slow to import

    return call_service(options, Trigger, STOP, Trigger.Request())


def call_service(options: ServiceOptions, kind: Any, name: str, request: Any) -> int:
    """Call a service and print its answer.

    Args:
        options: which graph to call.
        kind: type of the service, whose answer has `success` and `message`.
        name: name of the service in its namespace.
        request: the request.

    Returns:
        The exit code: 0 if it succeeded, 1 if it was refused.

    Raises:
        ValueError: nobody answers.
    """
    os.environ.update(child_environment(os.environ))  # before rclpy is imported
    if options.domain >= 0:
        os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    name = in_namespace(options.namespace, name)
    response = _response(kind, name, request)
    if response is None:
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        raise ValueError(
            f"nobody answers on {name} in domain {domain}; start a graph with 'invdyn launch', or "
            "give its --domain and --namespace"
        )
    print(response.message)
    return 0 if response.success else 1


def _response(kind: Any, name: str, request: Any) -> Any:
    """Return the answer of a service, None if nobody answers in time."""
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("service_call", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        client = node.create_client(kind, name)
        if not client.wait_for_service(TIMEOUT):
            return None
        future = client.call_async(request)
        executor.spin_until_future_complete(future, timeout_sec=TIMEOUT)
        return future.result() if future.done() else None
    finally:
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
        rclpy.try_shutdown(context=context)

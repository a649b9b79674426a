"""Calls of the services of a running graph."""

from __future__ import annotations

from typing import Any

from invdyn_ros.graph.topics import ENGAGE, STOP
from invdyn_ros.nodes.graph_client import GraphClient, GraphOptions


def engage_arm(options: GraphOptions, engaged: bool) -> int:
    """Engage or disengage the arm of a graph; print the answer and return the exit code.

    Raises:
        ValueError: nobody answers.
    """
    from std_srvs.srv import SetBool  # slow to import

    return call_service(options, SetBool, ENGAGE, SetBool.Request(data=engaged))


def stop_arm(options: GraphOptions) -> int:
    """Stop the arm of a graph; print the answer and return the exit code.

    Raises:
        ValueError: nobody answers.
    """
    from std_srvs.srv import Trigger  # slow to import

    return call_service(options, Trigger, STOP, Trigger.Request())


def call_service(options: GraphOptions, kind: Any, name: str, request: Any) -> int:
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
    with GraphClient(options) as client:
        response = client.call(kind, name, request)
    print(response.message)
    return 0 if response.success else 1

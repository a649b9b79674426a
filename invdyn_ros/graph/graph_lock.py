"""Lock by which a second graph in the domain and namespace of a running one is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import sys
from contextlib import suppress
from types import TracebackType

from invdyn_ros.graph.names import in_namespace
from invdyn_ros.graph.node_spec import NodeSpec

CREDENTIALS = struct.Struct("3i")  # process, user and group, of unix(7)


class GraphLock:
    """Domain and namespace, taken by one graph of this machine until its launcher ends.

    The lock is an abstract socket of Linux, which vanishes with its process however that ends.
    Containers that do not share the network do not share it, and do not discover each other's
    nodes. A second graph on another machine is found by its nodes.
    """

    def __init__(self, domain: str, namespace: str) -> None:
        """Take the lock.

        Args:
            domain: ROS_DOMAIN_ID.
            namespace: full namespace of the graph.

        Raises:
            ValueError: another graph has it.
        """
        self.place = f"domain {domain}, namespace {namespace}"
        self.socket: socket.socket | None = None
        if not sys.platform.startswith("linux"):
            return
        name = hashlib.sha256(self.place.encode()).hexdigest()
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.bind(f"\0invdyn_ros {name}")
        except OSError as error:
            holder = self._holder(f"\0invdyn_ros {name}")
            self.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise ValueError(
                f"a graph runs already in {self.place} ({holder}); end it, or give another "
                "namespace:= or domain:="
            ) from None
        self.socket.listen()
        self.socket.setblocking(False)

    def __enter__(self) -> GraphLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def report_attempts(self) -> None:
        """Print one line for each graph that was refused since the last call."""
        while self.socket is not None:
            try:
                attempt, _ = self.socket.accept()
            except OSError:  # none
                return
            with attempt:
                print(
                    f"a second graph in {self.place} was refused ({_peer(attempt)})",
                    file=sys.stderr,
                    flush=True,
                )

    def _holder(self, name: str) -> str:
        """Tell the graph that has the lock of this attempt, and return who it is."""
        with socket.socket(socket.AF_UNIX) as attempt, suppress(OSError):
            attempt.connect(name)
            return _peer(attempt)
        return "another process"


def take_lock(spec: NodeSpec, outer: str = "") -> GraphLock:
    """Take the lock of a graph.

    Args:
        spec: one of its nodes.
        outer: namespace of an including launch file.

    Raises:
        ValueError: another graph has it.
    """
    domain = {**os.environ, **spec.environment}.get("ROS_DOMAIN_ID") or "0"
    return GraphLock(domain, in_namespace(outer, spec.namespace))


def _peer(connection: socket.socket) -> str:
    """Return which process is at the other end of a connection."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return f"process {CREDENTIALS.unpack(credentials)[0]}"

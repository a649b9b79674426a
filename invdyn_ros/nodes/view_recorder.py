"""Recordings of a run that the live window starts and ends."""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy

from invdyn_ros.evaluation.live.server import CommandResult
from invdyn_ros.nodes.frames import LATCHED_QOS
from invdyn_ros.nodes.run_topics import LATCHED_TOPICS
from invdyn_ros.nodes.runner import DiagnosticNode

RECORDING_QOS = QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)


class Recorder:
    """Recordings that a page starts and ends.

    Attributes:
        path: folder of the recording in progress, None without one.
    """

    def __init__(self, node: DiagnosticNode, topics: Mapping[str, Any]) -> None:
        """Create a recorder.

        Args:
            node: subscribes to the topics while they are recorded.
            topics: message type of each topic.
        """
        self.node, self.topics = node, topics
        self.path: str | None = None
        self._bag: Any = None
        self._subscriptions: list[Any] = []
        self._requests: queue.SimpleQueue[tuple[bool, Future[CommandResult]]] = queue.SimpleQueue()

    def request(self, on: bool) -> Future[CommandResult]:
        """Ask for a start or an end from any thread."""
        result: Future[CommandResult] = Future()
        self._requests.put((on, result))
        return result

    @staticmethod
    def prepare() -> None:
        """Import what takes longer than a page waits for the result of a command."""
        import invdyn_ros.nodes.bag  # noqa: F401

    def handle_requests(self) -> None:
        """Start or end recordings as requested."""
        while not self._requests.empty():
            on, result = self._requests.get()
            if not result.set_running_or_notify_cancel():
                continue
            try:
                message = self._start() if on else self.close()
                result.set_result(CommandResult(True, message))
            except (OSError, ValueError) as error:
                result.set_result(CommandResult(False, str(error)))

    def _start(self) -> str:
        if self._bag is not None:
            raise ValueError(f"{self.path} is being recorded already")
        from invdyn_ros.nodes.bag import BagWriter

        self.node.hold(None)
        folder = Path(time.strftime("recording_%Y%m%d_%H%M%S")).absolute()
        self._bag, self.path = BagWriter(folder, node=self.node), str(folder)
        self._subscriptions = [
            self.node.create_subscription(
                kind,
                topic,
                partial(self._write, topic, kind),
                LATCHED_QOS if topic in LATCHED_TOPICS else RECORDING_QOS,
                raw=True,
            )
            for topic, kind in self.topics.items()
        ]
        return f"recording {folder}"

    def _write(self, topic: str, kind: Any, raw: bytes) -> None:
        if self._bag is None:
            return
        try:
            self._bag.write(topic, kind, time.time_ns(), raw)
        except OSError as error:
            self._bag.remove()
            self._bag = self.path = None
            self.node.hold(f"the recording is lost: {error}")

    def close(self) -> str:
        """End the recording; return what happened in words.

        Raises:
            OSError: the recording cannot be finished, and is deleted.
        """
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        bag, path = self._bag, self.path
        self._subscriptions, self._bag, self.path = [], None, None
        if bag is None:
            return "nothing is being recorded"
        try:
            bag.close()
        except OSError:
            bag.remove()
            raise
        return f"recorded {path}"

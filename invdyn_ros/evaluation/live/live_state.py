"""What the live window shows of a running graph, from one update to the next."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.control.faults import NOT_ENGAGED, STOP_REQUESTED
from invdyn_ros.typing import Array

LEVELS = ("OK", "WARN", "ERROR", "STALE")  # of a diagnostics status
CONTROLLER = "inverse_dynamics"  # node whose status tells whether the arm is engaged
STATUS_TIMEOUT = 3.5  # [s] after which a node is lost; diagnostics come once a second
NUM_LATENCIES = 300  # of which percentiles are shown
MAX_LATENCY = 60.0  # [s] of a stamp of this machine's clock; others are simulated times
MAX_STEP = 0.5  # [s] between two desired motions of which the acceleration is computed
RATE_PERIOD = 1.0  # [s] over which messages are counted


class NodeStatus(NamedTuple):
    """Last diagnostics of a node, with the time of their arrival [s]."""

    level: int
    message: str
    time: float


class LiveState:
    """Newest measurements, statuses and rates of a graph, as a dictionary for the page.

    Times are those of one monotonic clock [s].

    Attributes:
        q: (n,) measured position [rad], None before the first one.
        qd: (n,) measured velocity [rad/s], empty if not measured.
        stamp: time of the measurement by the clock of the arm [s].
        desired: (n,) position that the controller tracks [rad], None without one.
        opening: distance of the finger pads [m], None if unknown.
        blocks: poses (4, 4) of simulated blocks in the base frame.
        recording: path of the recording in progress, None without one.
    """

    def __init__(self) -> None:
        self.q: Array | None = None
        self.qd = np.empty(0)
        self.stamp = 0.0
        self.desired: Array | None = None
        self._desired_qd: tuple[float, Array] | None = None  # with its stamp [s]
        self._motion: Array | None = None
        self.opening: float | None = None
        self.blocks: Sequence[Array] = ()
        self.recording: str | None = None
        self._statuses: dict[str, NodeStatus] = {}
        self._latencies: deque[float] = deque(maxlen=NUM_LATENCIES)
        self._counts: Counter[str] = Counter()
        self._rates: dict[str, float] = {}
        self._rates_time: float | None = None

    def count(self, name: str) -> None:
        """Count a message of a topic, for its rate."""
        self._counts[name] += 1

    def set_desired(self, stamp: float, q: Array, qd: Array) -> None:
        """Store the motion that the controller tracks, and its acceleration since the last one.

        Args:
            stamp: time of the motion [s].
            q: (n,) position [rad].
            qd: (n,) velocity [rad/s].
        """
        last, qdd = self._desired_qd, np.zeros_like(qd)
        if last is not None and 0 < stamp - last[0] < MAX_STEP:
            qdd = (qd - last[1]) / (stamp - last[0])
        self.desired, self._desired_qd = q, (stamp, qd)
        self._motion = np.concatenate([q, qd, qdd])

    def add_status(self, name: str, level: int, message: str, time: float) -> None:
        """Store the diagnostics of a node.

        Args:
            name: name of the node.
            level: index in LEVELS.
            message: its message.
            time: time of arrival [s].
        """
        self._statuses[name] = NodeStatus(min(level, len(LEVELS) - 1), message, time)

    def add_latency(self, seconds: float) -> None:
        """Store the time from an image to the command computed from it; ignore simulated times."""
        if 0 <= seconds < MAX_LATENCY:
            self._latencies.append(1e3 * seconds)

    def engagement(self, time: float) -> tuple[str, str]:
        """Return the state of the controller, one word, and its reason in words."""
        status = self._statuses.get(CONTROLLER)
        if status is None or time - status.time > STATUS_TIMEOUT:
            return "unknown", f"no diagnostics of {CONTROLLER}"
        if status.level == LEVELS.index("STALE"):
            return "unknown", status.message
        if status.level == LEVELS.index("ERROR"):
            return "fault", status.message
        if status.message in (NOT_ENGAGED, STOP_REQUESTED):
            return "disengaged", status.message
        return ("holding", status.message) if status.level else ("engaged", "")

    def to_dict(self, time: float) -> dict[str, Any]:
        """Return all values at a time [s], for JSON."""
        self._update_rates(time)
        state, reason = self.engagement(time)
        return {
            "stamp": self.stamp,
            "q": to_list(self.q),
            "qd": to_list(self.qd),
            "desired": to_list(self.desired),
            "motion": to_list(self._motion),
            "opening": self.opening,
            "blocks": [pose.T.ravel().tolist() for pose in self.blocks],  # columns, as in WebGL
            "state": state,
            "reason": reason,
            "nodes": [self._node(*item, time) for item in sorted(self._statuses.items())],
            "latency": self._latency(),
            "rates": self._rates,
            "recording": self.recording,
        }

    def _node(self, name: str, status: NodeStatus, time: float) -> dict[str, str]:
        lost = time - status.time > STATUS_TIMEOUT
        message = f"silent since {time - status.time:.0f} s" if lost else status.message
        return {"name": name, "level": LEVELS[-1 if lost else status.level], "message": message}

    def _latency(self) -> dict[str, float] | None:
        if not self._latencies:
            return None
        p50, p99 = np.percentile(self._latencies, (50, 99))
        return {"last": self._latencies[-1], "p50": float(p50), "p99": float(p99)}

    def _update_rates(self, time: float) -> None:
        last = self._rates_time
        if last is None:
            self._rates_time = time
        elif time - last >= RATE_PERIOD:
            names = [*self._rates, *(name for name in self._counts if name not in self._rates)]
            self._rates = {name: round(self._counts[name] / (time - last), 1) for name in names}
            self._counts.clear()
            self._rates_time = time


def to_list(values: Array | None) -> list[float | None] | None:
    """Return an array as a list for JSON, in which values that are not finite are None."""
    if values is None:
        return None
    return [float(value) if math.isfinite(value) else None for value in values]

"""What a run of the safety benchmark's live faults recorded, by the clock of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.bag_files import JOINT_STATE_MESSAGE, MissingTopic, messages
from invdyn_ros.typing import Array

DIAGNOSTICS, DIAGNOSTICS_MESSAGE = "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"
DESIRED = "/inverse_dynamics/desired_joint_state"
GAP = 0.1  # [s] without a command, after which the next one is the first
STATUS_PERIOD = 1.5  # [s] in which each node gives a diagnosis
SPEED_WINDOW = 0.1  # [s] over which a speed is measured


class Timeline(NamedTuple):
    """Arrays over the messages of a run; times are those of their arrival [s].

    Attributes:
        time: (T,) of the joint states.
        stamp: (T,) their stamps [ns].
        q: (T, n) measured positions [rad].
        desired_time: (D,) of the commands.
        desired_stamp: (D,) stamps of their joint states [ns].
        desired: (D, n) planned positions [rad].
        command: (D, n) torques [N m] or setpoints [rad].
        statuses: time, node and text of each diagnosis that is not "ok".
    """

    time: Array
    stamp: Array
    q: Array
    desired_time: Array
    desired_stamp: Array
    desired: Array
    command: Array
    statuses: list[tuple[float, str, str]]

    def detection(self, reasons: tuple[str, ...], start: float) -> tuple[str | None, float]:
        """Return what was named first of some reasons, and when [s]; None and NaN if nothing was.

        Args:
            reasons: first words.
            start: time from which on it counts [s].
        """
        for time, _, text in self.statuses:
            if time >= start and text.startswith(reasons):
                return text, time
        return None, float("nan")

    def place(self, time: float) -> Array:
        """Return the newest measured position (n,) [rad] at a time [s]."""
        return np.asarray(self.q[max(int(np.searchsorted(self.time, time, "right")) - 1, 0)])

    def excursion(self, start: float, end: float) -> float:
        """Return the largest distance of a joint from its plan, or from its place at the start.

        The smaller one counts; the plan is the newest one sent [rad].

        Args:
            start: start of the fault [s].
            end: last time [s].
        """
        inside = (self.time >= start) & (self.time <= end)
        if not inside.any():
            return 0.0
        q = self.q[inside]
        away = np.abs(q - self.place(start))
        if len(self.desired):
            newest = np.searchsorted(self.desired_time, self.time[inside], "right") - 1
            away = np.minimum(away, np.abs(q - self.desired[np.maximum(newest, 0)]))
        return float(away.max())

    def travel(self, start: float, end: float) -> float:
        """Return the largest travel of a joint in a time [rad].

        Args:
            start: first time [s].
            end: last time [s].
        """
        inside = (self.time >= start) & (self.time <= end)
        return float(np.ptp(self.q[inside], axis=0).max()) if inside.any() else 0.0

    def speed(self, robot: Robot, time: float) -> float:
        """Return the largest joint speed before a time [s], as a fraction of the rated one [-]."""
        moved = np.abs(self.place(time) - self.place(time - SPEED_WINDOW))
        return float((moved / SPEED_WINDOW / robot.velocity).max())

    def follows(self, start: float) -> bool:
        """Return whether the arm got commands from a time [s] on."""
        return bool((self.desired_time >= start).any())

    def last_status(self, node: str, reasons: tuple[str, ...]) -> str:
        """Return the last diagnosis of a node in the last second, if possible one of some reasons.

        Args:
            node: its name, which another node may have, too.
            reasons: first words.
        """
        start = self.statuses[-1][0] - STATUS_PERIOD if self.statuses else 0.0
        texts = [text for time, name, text in self.statuses if name == node and time >= start]
        named = [text for text in texts if text.startswith(reasons)] or texts
        return named[-1] if named else "nothing was named"

    def first_command(self, start: float) -> float:
        """Return the largest distance of a setpoint after a gap from the arm [rad].

        Args:
            start: time from which on gaps count [s].

        Returns:
            NaN without such a setpoint.
        """
        gaps = np.flatnonzero(np.diff(self.desired_stamp) > 1e9 * GAP) + 1
        distances = []
        for k in gaps[self.desired_time[gaps] >= start]:
            same = np.flatnonzero(self.stamp == self.desired_stamp[k])
            if same.size:
                distances.append(np.abs(self.command[k] - self.q[same[-1]]).max())
        return float(max(distances, default=np.nan))


def read_timeline(bag: Path, robot: Robot) -> Timeline | None:
    """Read the recording of a run; None if there is none or nothing moved.

    Args:
        bag: its folder.
        robot: the arm.
    """
    try:
        states = _joint_states(bag, "/joint_states", robot)
        desired = _joint_states(bag, DESIRED, robot)
        statuses = [
            (stamp * 1e-9, status.name, status.message)
            for stamp, message in messages(bag, DIAGNOSTICS, DIAGNOSTICS_MESSAGE)
            for status in message.status
            if status.message != "ok"
        ]
    except (MissingTopic, ValueError):
        return None
    time, stamp, q, _ = states
    return Timeline(time, stamp, q, *desired, statuses)


def _joint_states(bag: Path, topic: str, robot: Robot) -> tuple[Array, Array, Array, Array]:
    """Return arrival (T,) [s], stamp (T,) [ns], position and effort (T, n) of an arm's joints."""
    rows: list[tuple[float, int, Any, Any]] = []
    for arrival, message in messages(bag, topic, JOINT_STATE_MESSAGE):
        if not set(robot.joint_names) <= set(message.name):
            continue
        order = [message.name.index(name) for name in robot.joint_names]
        stamp = message.header.stamp
        effort = message.effort[order] if len(message.effort) else np.zeros(robot.n)
        rows.append(
            (arrival * 1e-9, stamp.sec * 10**9 + stamp.nanosec, message.position[order], effort)
        )
    if not rows:
        empty = np.empty((0, robot.n))
        return np.empty(0), np.empty(0), empty, empty
    time, stamps, q, effort = zip(*rows, strict=True)
    return np.array(time), np.array(stamps), np.stack(q), np.stack(effort)

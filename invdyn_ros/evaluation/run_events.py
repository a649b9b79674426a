"""Events of a run that a film or figure must not hide: faults, contacts, violations, holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.recording import Recording, StatusInterval
from invdyn_ros.evaluation.run_metrics import limit_violations, lost_frames, tracking
from invdyn_ros.robots.robot import Robot

MERGED_GAP = 0.25  # [s] between two equal events below which they count as one


class Event(NamedTuple):
    """Something that happened in a run.

    Attributes:
        start: first time [s].
        end: last time [s].
        kind: fault, contact, limit, jump, hold or lost; the gravest first.
        text: what happened, in words.
    """

    start: float
    end: float
    kind: str
    text: str


KINDS = ("fault", "contact", "limit", "jump", "hold", "lost")


def run_events(recording: Recording, robot: Robot, unit: str) -> list[Event]:
    """Return the events of a run in time order.

    Args:
        recording: the run.
        robot: the arm.
        unit: unit of the actions.
    """
    events = [
        Event(s.start, s.end, s.kind, _status_text(s))
        for s in recording.statuses
        if s.kind in KINDS and not (s.kind == "hold" and s.end < _first_command(recording))
    ]
    violations = limit_violations(robot, recording.joints, recording.desired, unit)
    for time, text in zip(violations.time, violations.text, strict=True):
        events.append(Event(float(time), float(time), "limit", f"beyond its limit: {text}"))
    jumps = tracking(robot, recording.joints, recording.desired).jumps
    events += [Event(float(t), float(t), "jump", "the plan jumps") for t in jumps]
    period = float(np.median(np.diff(recording.image_stamps or [0.0, 0.0])))
    events += [Event(t, t + period, "lost", "image lost") for t in lost_frames(recording)]
    return _merged(events)


def active_events(events: Sequence[Event], time: float, min_duration: float) -> list[Event]:
    """Return the events at a time [s], the gravest first.

    Args:
        events: from `run_events`.
        time: the time [s].
        min_duration: duration for which an event is active at least [s].
    """
    active = [e for e in events if e.start <= time <= max(e.end, e.start + min_duration)]
    return sorted(active, key=_gravity)


def event_lines(events: Sequence[Event]) -> list[str]:
    """Return one line for each different event, with its count and duration, the gravest first."""
    lines = []
    for text in dict.fromkeys(e.text for e in sorted(events, key=_gravity)):
        same = [event for event in events if event.text == text]
        parts = [f"{len(same)}x"] if len(same) > 1 else []
        seconds = sum(event.end - event.start for event in same)
        parts += [f"{seconds:.1f} s"] if seconds >= 0.05 else []
        lines.append(f"{text} ({', '.join(parts)})" if parts else text)
    return lines


def _status_text(status: StatusInterval) -> str:
    if status.kind == "contact":
        return status.text
    reason, _, _ = status.text.partition(";")  # a remedy follows
    return f"{status.kind}: {reason} ({status.node})"


def _gravity(event: Event) -> int:
    return KINDS.index(event.kind)


def _first_command(recording: Recording) -> float:
    """Return the time [s] until which nodes wait for each other; -inf without any command."""
    return (
        float(recording.desired.time[0]) + MERGED_GAP if len(recording.desired.time) else -np.inf
    )


def _merged(events: list[Event]) -> list[Event]:
    """Return the events in time order, equal ones that follow each other merged."""
    merged: list[Event] = []
    last: dict[str, int] = {}
    for event in sorted(events):
        index = last.get(event.text)
        if index is not None and event.start - merged[index].end <= MERGED_GAP:
            merged[index] = merged[index]._replace(end=max(event.end, merged[index].end))
        else:
            last[event.text] = len(merged)
            merged.append(event)
    return merged

"""Sections of the page of a run in which an arm floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.floating_report import tool_positions
from invdyn_ros.evaluation.pages.curves import curve, event_spans, line_chart, worst_samples
from invdyn_ros.evaluation.pages.report_page import Cell, PageTable, Section, number_text
from invdyn_ros.evaluation.pages.run_sections import safety_section
from invdyn_ros.evaluation.run_events import Event
from invdyn_ros.robots.robot import Robot

PUSH_COLUMNS = ("time", "seconds", "moved_mm", "tool_speed", "stopped_after_s", "coasted_mm")


def floating_sections(report: Mapping[str, Any]) -> list[Section]:
    """Return the sections of a run that its report suffices for."""
    if "error" in report:
        return []
    rows: list[list[Cell]] = [
        [
            " ".join(f"{f:g}" for f in push["force"]),
            *(number_text(push[key], 3) for key in PUSH_COLUMNS),
        ]
        for push in report["pushes"]
    ]
    head = (
        *("force x y z [N]", "at [s]", "for [s]", "moved [mm]", "speed [m/s]"),
        *("stopped after [s]", "coasted [mm]"),
    )
    values: list[list[Cell]] = [
        ["drift while nobody pushes [mrad/min]", number_text(report["drift_mrad_per_min"], 3)],
        ["largest speed of the tool [m/s]", number_text(report["tool_speed_max"], 3)],
        ["share of the time in a soft stop", number_text(report["soft_stop_share"], 3)],
    ]
    text = "What a push did, and how the arm came to rest when it was let go."
    tables = [PageTable(("", "value"), values), PageTable(head, rows)]
    return [Section("Floating", text, tables), safety_section(report)]


def floating_run_sections(
    recording: Recording, robot: Robot, events: Sequence[Event]
) -> list[Section]:
    """Return the sections of a run that need its recording.

    Args:
        recording: the run.
        robot: the arm.
        events: of the run.
    """
    joints = recording.joints
    if not len(joints.time):
        return []
    start, time = float(joints.time[0]), joints.time
    spans = event_spans(events, start)
    rows = worst_samples(np.zeros(len(time)))
    tool = tool_positions(robot, joints)
    axes = [
        curve(axis, time[rows] - start, tool[rows, k])
        for k, axis in enumerate(("x, forward", "y, to the left", "z, up"))
    ]
    joint_curves = [
        curve(name, time[rows] - start, joints.q[rows, j])
        for j, name in enumerate(robot.joint_names)
    ]
    charts = [
        line_chart("Position of the tool", "position [m]", axes, spans),
        line_chart("Joints", "position [rad]", joint_curves, spans),
    ]
    return [Section("Motion", "Shaded: holds, faults, violations and contacts.", charts=charts)]

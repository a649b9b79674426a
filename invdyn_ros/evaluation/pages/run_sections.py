"""Sections of the pages of teleop and grasp_sim runs, from their reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invdyn_ros.evaluation.comparison_table import percent
from invdyn_ros.evaluation.headlines import Finding
from invdyn_ros.evaluation.pages.model_sections import bar_chart
from invdyn_ros.evaluation.pages.report_page import Cell, PageTable, Section, number_text

UNKNOWN = "\u2013"

Report = Mapping[str, Any]


def teleop_sections(report: Report) -> list[Section]:
    """Return the sections of a teleop run that its report suffices for."""
    if "error" in report:
        return []
    return [_person(report), _delays(report), _tracking(report), safety_section(report)]


def grasp_sections(report: Report) -> list[Section]:
    """Return the sections of a grasp_sim run that its report suffices for."""
    if "error" in report:
        return []
    return [_success(report), _tracking(report), safety_section(report)]


def _person(report: Report) -> Section:
    desired = report.get("desired_state") or {}
    sources = {
        "measured arm, at the time of the image": report,
        "measured arm, one lag after the image": report["after_lag"],
        "joint targets, where the arm can follow": desired,
        "the same with the images in which the person is too fast": desired.get(
            "including_rate_limited"
        ),
    }
    rows: list[list[Cell]] = []
    for name, values in sources.items():
        quantiles = [
            (values or {}).get(key, {}).get(q)
            for key in ("wrist_error_mm", "limb_error_deg")
            for q in ("p50", "p95")
        ]
        rows.append([name, *(number_text(value, 3) for value in quantiles)])
    head = ("", "wrist p50 [mm]", "p95", "limbs p50 [deg]", "p95")
    notes = (
        ("wrist", "distance of the arm's wrist from the person's, scaled to the arm"),
        ("limbs", "angle between the directions of upper arm and forearm"),
        ("p50, p95", "half and 95% of the images have less"),
    )
    reasons = desired.get("unreachable") or {}
    counts: list[list[Cell]] = [
        ["images processed", str(report["frames"])],
        ["with a person", _count(report["detected"], report["detected"] < report["frames"])],
        ["lost", _count(report["frames_lost"])],
    ]
    counts += [[f"not followed: {reason}", _count(n)] for reason, n in reasons.items()]
    text = "How far the arm is from the person, also while it holds or cannot reach."
    tables = [PageTable(head, rows, notes), PageTable(("images", "number"), counts)]
    return Section("Following the person", text, tables)


def _delays(report: Report) -> Section:
    rows: list[list[Cell]] = []
    names = {
        "image to command": report["latency_ms"],
        "without the pose network": report["core_latency_ms"],
        **{name.replace("_", " "): row for name, row in report["stages_ms"].items()},
    }
    for name, row in names.items():
        rows.append([name, *(number_text(row[q], 3) for q in ("p50", "p95", "p99"))])
    lag: list[list[Cell]] = [
        [axis, number_text(value, 3), number_text(report["lag_correlation"][axis], 3)]
        for axis, value in report["lag_ms"].items()
    ]
    text = (
        "Latency is from the stamp of an image to that of its command. The lag is the delay of "
        "the measured hand behind the person's, found by cross-correlation; it includes the "
        "motion of the arm. A dash: not measured, as in simulated time."
    )
    tables = [
        PageTable(("latency [ms]", "p50", "p95", "p99"), rows),
        PageTable(("axis", "lag [ms]", "correlation"), lag),
    ]
    return Section("Delay", text, tables)


def _tracking(report: Report) -> Section:
    values = {
        name: rms for name, rms in (report["tracking_rms_rad"] or {}).items() if rms is not None
    }
    names = [name.replace("_", " ") for name in values]
    series = [{"name": "RMS error", "values": [1e3 * rms for rms in values.values()]}]
    notes = (
        ("inverse dynamics", "measured in this run"),
        ("inverse dynamics replay", "the same desired motion and model, replayed in simulation"),
        ("pd", "replayed with plain feedback"),
        ("rigid body", "replayed with the dynamics of the URDF"),
    )
    largest = report["tracking_max_rad"]
    rows: list[list[Cell]] = [
        [name, number_text(1e3 * rms, 3)] for name, rms in zip(names, values.values(), strict=True)
    ]
    rows.append(
        ["largest error of a joint", number_text(None if largest is None else 1e3 * largest, 3)]
    )
    table = PageTable(
        ("joints against the desired motion", "error [mrad]"),
        rows,
        [note for note in notes if note[0] in names],
    )
    charts = [bar_chart("RMS error by controller", "RMS error [mrad]", names, series)]
    text = "How well the measured joints follow the desired motion, at all times of the run."
    return Section("Tracking", text, [table], charts if len(names) > 1 else [])


def safety_section(report: Report) -> Section:
    """Return the table of what went wrong in a run: faults, violations, holds, contacts."""
    held = report["held_share"]
    held_bad = held is None or held >= 0.005
    rows: list[list[Cell]] = [
        ["time held or in fault", Finding(percent(held), held_bad)],
        ["faults", _count(len(report["faults"]))],
        ["contacts of the arm", _count(sum(report["contacts"].values()))],
        ["messages unreadable", _count(sum(report["ignored_messages"].values()))],
    ]
    if "plan_jumps" in report:
        rows.append(["jumps of the desired motion", _count(report["plan_jumps"])])
    rows += [
        [f"samples with {kind} outside its limit", _count(n)]
        for kind, n in report["limit_violations_by_kind"].items()
    ]
    tables = [PageTable(("", "number"), rows)]
    if report["faults"]:
        cells: list[list[Cell]] = [
            [f"{fault['time']:.2f}", fault["node"], Finding(fault["text"], bad=True)]
            for fault in report["faults"]
        ]
        tables.append(PageTable(("time [s]", "node", "fault"), cells))
    if drifts := report.get("model_drift"):
        differences: list[list[Cell]] = [
            [f"{drift['time']:.2f}", Finding(drift["text"], bad=True)] for drift in drifts
        ]
        tables.append(PageTable(("time [s]", "difference to the model"), differences))
    if report["hold_counts"]:
        reasons = sorted(report["hold_counts"].items(), key=lambda item: -item[1])
        tables.append(
            PageTable(("why the arm was held", "times"), [[r, str(n)] for r, n in reasons])
        )
    if report["contacts"]:
        pairs = report["contacts"].items()
        tables.append(PageTable(("contact of", "times"), [[pair, _count(n)] for pair, n in pairs]))
    text = "All of these should be zero; what is not is marked."
    return Section("What went wrong", text, tables)


def _success(report: Report) -> Section:
    causes = {
        "stopped": ("a fault or the motion guard stopped the arm",),
        "not_detected": ("the camera never detected the block",),
        "missed_grasp": ("the block was never held",),
        "slipped": ("the block was held and lost",),
        "misplaced": ("the block was released off its goal",),
        "timeout": ("the time was over",),
    }
    scripted, error = report["baseline_scripted"], report["block_error_mm"]
    episodes, successes = report["episodes"], report["successes"]
    failed = successes < episodes
    rows: list[list[Cell]] = [
        ["episodes", str(episodes)],
        ["placed at the goal", Finding(f"{successes} ({_interval(report)})", failed)],
        ["lifted by 40 mm", UNKNOWN if report["lifted"] is None else str(report["lifted"])],
        ["cut off by the end of the run", _count(report["unfinished_episodes"])],
        ["scripted policy in the same episodes", _interval(scripted) if scripted else "not run"],
        ["block error, median [mm]", number_text(error["p50"], 3)],
        ["block error, 95% of the detections [mm]", number_text(error["p95"], 3)],
        ["mean duration of an episode [s]", number_text(report["seconds_per_episode"], 3)],
    ]
    rows += [
        [", ".join([f"failed: {name.replace('_', ' ')}", *causes.get(name, ())]), _count(n)]
        for name, n in report["failures"].items()
    ]
    text = (
        f"Policy {report.get('policy')}, noise {report.get('noise')}, seed {report.get('seed')}. "
        "An episode is a success if the block is released within 25 mm of the goal, by "
        f"{report['judged_by']}; block error: distance of the detected from the true centre."
    )
    return Section("Grasps", text, [PageTable(("", "value"), rows)])


def _interval(statistics: Report) -> str:
    """Return a success rate with its 95% interval."""
    rate = percent(statistics["success_rate"])
    if statistics["ci95"] is None:
        return rate
    low, high = statistics["ci95"]
    return f"{rate}, 95% interval {100 * low:.0f}-{100 * high:.0f}%"


def _count(number: int | None, bad: bool | None = None) -> Finding:
    """Return a count that is marked unless it is zero."""
    text = "\u2013" if number is None else str(number)
    return Finding(text, bool(number) if bad is None else bad)

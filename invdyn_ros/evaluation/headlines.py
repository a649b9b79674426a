"""Headline of a report: what was achieved and what went wrong, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from invdyn_ros.evaluation.comparison_table import percent

Report = Mapping[str, Any]
MIN_FRACTION = 0.005  # of time or images, below which it rounds to 0%
MOSTLY_HELD = 0.5  # fraction of the time from which a run is one of holds, not of following
MIN_CORRELATION = 0.5  # of the hands, below which a lag means nothing
CALIBRATED = (0.55, 0.8)  # fraction of errors within one standard deviation, 0.683 at best
BAD_COLUMNS = {
    *("violations", "contacts", "false alarms", "orphans", "tracebacks", "traceback"),
    *("several_lines", "hang", "crash", "wrong_acceptance", "file_not_named"),
}
"""Columns of benchmarks whose values should all be zero."""
EXPECTED_EQUAL = (("received", "sent"), ("passed", "runs"))
"""Columns of benchmarks of which the first should be as large as the second."""


class Finding(NamedTuple):
    """A sentence of a headline.

    Attributes:
        text: the sentence, without a full stop.
        bad: whether it is something that went wrong.
    """

    text: str
    bad: bool = False


def headline(kind: str, report: Report) -> list[Finding]:
    """Return the headline of a report, what was achieved first.

    Args:
        kind: kind of report, a key of `REPORT_KEYS`.
        report: the report.
    """
    if error := report.get("error"):
        return [Finding(f"The report failed: {error}", bad=True)]
    return HEADLINES[kind.split()[0]](report)


def headline_text(findings: Sequence[Finding]) -> str:
    """Return a headline as one line."""
    return "; ".join(finding.text for finding in findings)


def _evaluate(report: Report) -> list[Finding]:
    unit, nmse, rmse = report["action_unit"], report["nmse"], report["rmse"]
    samples = f"{report['split']['test']} held-out samples of {report['robot']}"
    if nmse["mean"] is None:
        text = f"{report['family']}: RMSE {rmse['mean']:.3g} {unit} on {samples}"
        return [Finding(text), Finding("the target is constant, so that nMSE is undefined", True)]
    achieved = Finding(
        f"{report['family']}: nMSE {percent(nmse['mean'])} (95% interval {_interval(nmse)}), "
        f"RMSE {rmse['mean']:.3g} {unit} on {samples}",
        bad=nmse["mean"] >= 1,
    )
    warning = report.get("unit_warning")
    findings = [achieved, *([Finding(warning, bad=True)] if warning else []), *_refusal(report)]
    return [*findings, *_worst_joint(report), *_better_baselines(report), *_calibration(report)]


def _refusal(report: Report) -> list[Finding]:
    """Say why the model may not drive an arm."""
    reason = (report.get("drive_check") or {}).get("reason")
    return [Finding(f"not to drive with: {reason}", bad=True)] if reason else []


def _worst_joint(report: Report) -> list[Finding]:
    pairs = zip(report["nmse"]["per_joint"], report["joint_names"], strict=True)
    nmse, name = max((pair for pair in pairs if pair[0] is not None), default=(None, ""))
    if nmse is None or len(report["joint_names"]) == 1:
        return []
    note = ", no better than the mean" if nmse >= 1 else ""
    return [Finding(f"worst joint {name} with {percent(nmse)}{note}", bad=nmse >= 1)]


def _better_baselines(report: Report) -> list[Finding]:
    """Name the baselines that are better than the model.

    The previous action, `hold_last`, is no alternative: it has to be measured first.
    """
    rows = {name: row["nmse"]["mean"] for name, row in report["baselines"].items()}
    better = {
        name: nmse
        for name, nmse in rows.items()
        if nmse is not None and nmse <= report["nmse"]["mean"]
    }
    return [
        Finding(f"baseline {name} has less error, {percent(nmse)}", bad=name != "hold_last")
        for name, nmse in better.items()
    ]


def _calibration(report: Report) -> list[Finding]:
    calibration = report["uncertainty_calibration"]
    if calibration is None:
        return []
    within = calibration["within_1_std"]
    text = f"{percent(within)} of the errors are within one predicted std (68% if calibrated)"
    low, high = CALIBRATED
    return [Finding(text, bad=not low <= within <= high)]


def _compare(report: Report) -> list[Finding]:
    best, rows = report["best"], report["families"]
    nmse = rows[best["family"]]["nmse"]
    findings = [
        Finding(
            f"Best of {len(rows)} on {report['robot']}: {best['family']}, nMSE "
            f"{percent(nmse['mean'])} on test (95% interval {_interval(nmse)})"
        ),
        Finding(f"chosen by its {best['reason']}"),
    ]
    for name, row in rows.items():
        mean = row["nmse"]["mean"]
        if mean is None or mean >= 1:
            findings.append(Finding(f"{name} is no better than the mean: {percent(mean)}", True))
    return findings


def _benchmark(report: Report) -> list[Finding]:
    rows, name = report["rows"], report["benchmark"]
    findings = [Finding(f"{name}: {', '.join(list(rows)[:4])}{', ...' if len(rows) > 4 else ''}")]
    for ratio_name, ratios in report["ratio"].items():
        values = ", ".join(f"{column} {value:.3g} x" for column, value in ratios.items())
        findings.append(Finding(f"{ratio_name}: {values}"))
    findings += [
        Finding(f"{row_name}: {part} {row[part]:g} of {row[whole]:g}", bad=True)
        for row_name, row in rows.items()
        for part, whole in EXPECTED_EQUAL
        if part in row and row[part] < row.get(whole, 0)
    ]
    return findings + [
        Finding(f"{row_name}: {row[column]:g} {column}", bad=True)
        for row_name, row in rows.items()
        for column in row
        if row[column] and is_bad_column(column)
    ]


def is_bad_column(column: str) -> bool:
    """Return whether the values of a benchmark's column should all be zero."""
    return column in BAD_COLUMNS


def _teleop(report: Report) -> list[Finding]:
    frames, detected = report["frames"], report["detected"]
    wrist, lag = report["wrist_error_mm"], report["lag_ms"]["overall"]
    correlation = report["lag_correlation"]["overall"]
    if not frames:
        return [Finding("No image was processed", bad=True), *_run_events(report)]
    if wrist["p50"] is None:
        text = f"{report['arm']} followed nobody"
    else:
        text = (
            f"{report['arm']} followed: wrist {wrist['p50']:.0f} mm from the person's (median; "
            f"95%: {wrist['p95']:.0f} mm)"
        )
        if lag is not None and correlation >= MIN_CORRELATION:
            text += f", {lag:.0f} ms behind"
    findings = [Finding(text, bad=wrist["p50"] is None)]
    if correlation is not None and correlation < MIN_CORRELATION:
        findings.append(
            Finding(f"the hands move alike only in part (correlation {correlation:.2f})", bad=True)
        )
    if (report["held_share"] or 0.0) >= MOSTLY_HELD:
        findings = [Finding(text, bad=True) for text in _held(report)] + findings[1:]
    if detected < frames:
        missed = 1 - detected / frames >= MIN_FRACTION
        findings.append(Finding(f"person detected in {detected} of {frames} images", missed))
    reachable = (report.get("desired_state") or {}).get("reachable")
    if reachable is not None and detected and 1 - reachable >= MIN_FRACTION:
        part = f"{percent(1 - reachable)} of the images"
        findings.append(Finding(f"the person's pose was out of reach in {part}", bad=True))
    events = [finding for finding in _run_events(report) if finding not in findings]
    return [*findings, *_latency(report), *events]


def _latency(report: Report) -> list[Finding]:
    latency = report["latency_ms"]
    if latency["p50"] is not None:
        text = f"image to command {latency['p50']:.0f} ms (median; 99%: {latency['p99']:.0f} ms)"
        return [Finding(text)]
    why = "in simulated time" if report["lockstep"] else "no image led to a command"
    return [Finding(f"latency not measured: {why}", bad=not report["lockstep"])]


def _grasp(report: Report) -> list[Finding]:
    episodes, successes = report["episodes"], report["successes"]
    if not episodes:
        return [Finding("No episode was completed", bad=True), *_run_events(report)]
    low, high = report["ci95"]
    text = (
        f"Placed {successes} of {episodes} (95% interval {100 * low:.0f}-{100 * high:.0f}%) "
        f"with {report['arm']}"
    )
    error = report["block_error_mm"]["p95"]
    text += "" if error is None else f", block found within {error:.1f} mm (p95)"
    findings = [Finding(text, bad=successes < episodes)]
    causes = [f"{n} {name.replace('_', ' ')}" for name, n in report["failures"].items() if n]
    if causes:
        findings.append(Finding(f"failed: {', '.join(causes)}", bad=True))
    if count := report["unfinished_episodes"]:
        findings.append(Finding(f"{count} episode cut off by the end of the run", bad=True))
    scripted = report["baseline_scripted"]
    if scripted and report.get("policy") != "scripted":
        rate, text = scripted["success_rate"], "the scripted policy places {} in the same episodes"
        findings.append(Finding(text.format(percent(rate)), rate > report["success_rate"]))
    return findings + _run_events(report)


def _floating(report: Report) -> list[Finding]:
    drift, pushes = report["drift_mrad_per_min"], report["pushes"]
    if not report["floating_s"]:
        return [Finding(f"{report['arm']} was never engaged", bad=True), *_run_events(report)]
    text = f"{report['arm']} floated for {report['floating_s']:.0f} s"
    if drift is not None:
        text += f", drifting {drift:.2g} mrad/min while nobody pushed"
    findings = [Finding(text)]
    moved = [push["moved_mm"] for push in pushes if push["moved_mm"] is not None]
    if moved:
        force = max(math.hypot(*push["force"]) for push in pushes)
        times = [push["stopped_after_s"] for push in pushes if push["stopped_after_s"] is not None]
        pushes_text = f"{len(moved)} push{'' if len(moved) == 1 else 'es'} of {force:.0f} N"
        text = f"{pushes_text} moved the tool by up to {max(moved):.0f} mm"
        text += f", at rest {max(times):.1f} s after it was let go" if times else ""
        findings.append(Finding(text))
    return findings + _run_events(report)


def _run_events(report: Report) -> list[Finding]:
    """Name what went wrong in a run: holds, faults, violations, contacts, jumps, lost images."""
    findings = [Finding(text, bad=True) for text in (*_held(report), *_fault_texts(report))]
    counts = {
        "sample outside a rated limit": report["limit_violations"],
        "contact of the arm": sum(report["contacts"].values()),
        "jump of the desired motion": report.get("plan_jumps", 0),
        "image lost": report.get("frames_lost") or 0,
        "message unreadable": sum(report["ignored_messages"].values()),
    }
    findings += [Finding(_count(n, text), bad=True) for text, n in counts.items() if n]
    drifts = dict.fromkeys(drift["text"] for drift in report.get("model_drift", ()))
    findings += [Finding(text, bad=True) for text in drifts]
    return findings or [Finding("no hold, fault, contact or violation of a limit")]


def _held(report: Report) -> list[str]:
    held = report["held_share"]
    if held is None:
        return ["nothing was measured"]
    if held < MIN_FRACTION:
        return []
    reasons = sorted(report["hold_counts"], key=lambda reason: -report["hold_counts"][reason])
    why = f" ({'; '.join(reasons[:2])}{'; ...' if len(reasons) > 2 else ''})" if reasons else ""
    return [f"held {percent(held)} of the time{why}"]


def _fault_texts(report: Report) -> list[str]:
    faults = report["faults"]
    if not faults:
        return []
    first = faults[0]
    return [f"{_count(len(faults), 'fault')}, first at {first['time']:.1f} s: {first['text']}"]


def _count(number: int, text: str) -> str:
    """Return a number with its noun, the first word of the text, in the plural if need be."""
    noun, _, rest = text.partition(" ")
    return f"{number} {noun}{'' if number == 1 else 's'} {rest}".strip()


def _interval(metric: Report) -> str:
    low, high = metric["ci95"]
    return "unknown" if low is None else f"{100 * low:.3g}-{100 * high:.3g}%"


HEADLINES: dict[str, Callable[[Report], list[Finding]]] = {
    "evaluate": _evaluate,
    "compare": _compare,
    "benchmark": _benchmark,
    "teleop": _teleop,
    "grasp_sim": _grasp,
    "gravity_compensation": _floating,
}
"""First word of a kind of report -> function that returns its headline."""

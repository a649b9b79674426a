"""Sections of the pages of `invdyn evaluate` and `invdyn compare`, from their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invdyn_ros.evaluation.comparison_table import comparison_rows, percent, percent_range
from invdyn_ros.evaluation.headlines import Finding
from invdyn_ros.evaluation.pages.report_page import Cell, Chart, PageTable, Section, number_text

Report = Mapping[str, Any]
Z95 = 1.96  # standard deviations of half a 95% interval
NMSE_NOTE = "squared error by the variance of the target; 100% is as good as predicting the mean"


def evaluate_sections(report: Report) -> list[Section]:
    """Return the sections of an evaluation that its report suffices for."""
    sections = [_baselines(report), _joints(report)]
    if calibration := report["uncertainty_calibration"]:
        sections.append(_calibration(calibration, report["action_unit"]))
    if identification := report.get("identification"):
        sections.append(_identification(identification))
    return sections


def _baselines(report: Report) -> Section:
    unit = report["action_unit"]
    rows = [
        [name, *_errors(row, report, name)]
        for name, row in {report["family"]: report, **report["baselines"]}.items()
    ]
    head = ("", "nMSE", "95% interval", "R2", f"RMSE [{unit}]")
    notes = {
        "nMSE": NMSE_NOTE,
        "R2": "1 - nMSE",
        "hold_last": "the action measured one sample before, which nobody knows in advance",
        "rigid_body": "the dynamics of the URDF, nothing learned",
        "untrained": "the network before training",
    }
    unused = {"rigid_body", "untrained"} - report["baselines"].keys()
    text = (
        f"Errors on {report['split']['test']} held-out samples "
        f"(by {_split_text(report['split'])}); the target is the {report['target']}. "
        "A baseline that is better than the model is marked."
    )
    used = [(name, text) for name, text in notes.items() if name not in unused]
    return Section("Model and baselines", text, [PageTable(head, rows, used)])


def _split_text(split: dict[str, Any]) -> str:
    """Return what was held out, with the names of recordings."""
    names = split["test_recordings"] if split["group_by"] == "recording" else []
    return ": ".join(filter(None, [split["group_by"], ", ".join(names)]))


def _errors(row: Report, report: Report, name: str) -> list[Cell]:
    nmse, own = row["nmse"]["mean"], report["nmse"]["mean"]
    better = name != "hold_last" and row is not report and None not in (nmse, own) and nmse <= own
    return [
        Finding(percent(nmse), bad=better or (row is report and nmse is not None and nmse >= 1)),
        percent_range(tuple(row["nmse"]["ci95"])),
        number_text(row["r2"]["mean"]),
        number_text(row["rmse"]["mean"]),
    ]


def _joints(report: Report) -> Section:
    names, moving = report["joint_names"], report["moving"]
    head = ["joint", "nMSE", "R2", f"RMSE [{report['action_unit']}]"]
    head += ["moves", "nMSE while it moves"] if moving else []
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        nmse = report["nmse"]["per_joint"][k]
        row: list[Cell] = [name, Finding(percent(nmse), nmse is not None and nmse >= 1)]
        row += [number_text(report[key]["per_joint"][k]) for key in ("r2", "rmse")]
        if moving:
            row += [percent(moving["fraction"][k]), percent(moving["nmse"]["per_joint"][k])]
        rows.append(row)
    notes = [("nMSE", NMSE_NOTE)]
    if moving:
        speed = moving["min_velocity"]
        notes.append(("moves", f"part of the samples in which the joint turns by {speed} rad/s"))
    series = [{"name": "model", "values": _percents(report["nmse"]["per_joint"])}]
    series += [
        {"name": name, "values": _percents(row["nmse"]["per_joint"])}
        for name, row in report["baselines"].items()
        if name not in ("zero", "mean")
    ]
    chart = bar_chart("nMSE by joint", "nMSE [%]", names, series, log=True)
    text = "One mean over joints hides a bad one; a dash: the target of the joint is constant."
    return Section("Each joint", text, [PageTable(head, rows, notes)], [chart])


def _calibration(calibration: Report, unit: str) -> Section:
    rows: list[list[Cell]] = [
        ["errors within one standard deviation", percent(calibration["within_1_std"]), "68.3%"],
        ["errors within two standard deviations", percent(calibration["within_2_std"]), "95.4%"],
        ["mean negative log likelihood", number_text(calibration["nll"]), "lower is better"],
        [f"CRPS [{unit}]", number_text(calibration["crps"]), "lower is better"],
    ]
    text = (
        "Whether the predicted standard deviations are as large as the errors. "
        "CRPS is the continuous ranked probability score."
    )
    return Section("Calibration", text, [PageTable(("", "measured", "calibrated"), rows)])


def _identification(identification: Report) -> Section:
    rows: list[list[Cell]] = [
        [
            Finding(row["name"], bad=not row["identified"]),
            number_text(row["value"]),
            "-" if row["std"] is None else number_text(Z95 * row["std"]),
            number_text(row["urdf"]),
            row["combination"],
        ]
        for row in identification["base_parameters"]
    ]
    hidden = sum(not row["identified"] for row in identification["base_parameters"])
    text = (
        f"{len(rows)} combinations of parameters determine the torques; condition number "
        f"{number_text(identification['condition_number'])}. The motion does not determine "
        f"{hidden} of them, which are marked and remain near the URDF."
    )
    notes = [
        ("+-", "half of the 95% interval, for noise as correlated in time as the residual"),
        ("urdf", "value of the URDF, which has no friction"),
    ]
    head = ("base parameter [SI]", "value", "+-", "urdf", "sum of")
    return Section("Identified parameters", text, [PageTable(head, rows, notes)])


def compare_sections(report: Report) -> list[Section]:
    """Return the sections of a comparison."""
    return [_families(report), _family_joints(report), _seeds(report)]


def _families(report: Report) -> Section:
    unit, has_tracking = report["action_unit"], report["tracking_task"] is not None
    head = ["model", "nMSE validation", "nMSE test", "95% interval", f"RMSE [{unit}]"]
    head += ["tracking RMS [mrad]"] * has_tracking + ["one prediction, p50 [us]"]
    rows: list[list[Cell]] = []
    compared = comparison_rows(report)
    for row in compared:
        bad = row.learned and (row.test_nmse is None or row.test_nmse >= 1)
        cells: list[Cell] = [
            f"{row.name} (best)" if row.best else row.name,
            percent(row.val_nmse),
            Finding(percent(row.test_nmse), bad),
            percent_range(row.ci95),
            number_text(row.rmse, 3),
        ]
        tracking = None if row.tracking_rms is None else 1e3 * row.tracking_rms
        cells += [number_text(tracking, 3)] * has_tracking + [number_text(row.latency, 3)]
        rows.append(cells)
    notes = [("nMSE", NMSE_NOTE), ("best", report["best"]["reason"])]
    if has_tracking:
        task = report["tracking_task"]
        notes.append(
            (
                "tracking",
                f"RMS error of the joints in {task['seconds']:g} s of simulated motion outside "
                f"of the dataset, {task['payload_kg']:g} kg at the tool, feedback as live",
            )
        )
    names = [row.name for row in compared]
    series = {
        "name": "nMSE test",
        "values": _percents([row.test_nmse for row in compared]),
        "lower": _percents([row.ci95[0] for row in compared]),
        "upper": _percents([row.ci95[1] for row in compared]),
    }
    charts = [bar_chart("nMSE on test, 95% interval", "nMSE [%]", names, [series], log=True)]
    if has_tracking:
        values = [None if r.tracking_rms is None else 1e3 * r.tracking_rms for r in compared]
        series = {"name": "tracking RMS", "values": values}
        charts.append(
            bar_chart("Tracking in simulation", "RMS error [mrad]", names, [series], log=True)
        )
    text = f"Dataset {report['data']}: {report['split']['test']} test and "
    text += f"{report['val_samples']} validation samples by {report['split']['group_by']}."
    return Section("Families and baselines", text, [PageTable(head, rows, notes)], charts)


def _family_joints(report: Report) -> Section:
    names = report["joint_names"]
    rows: list[list[Cell]] = [
        [
            family,
            *(Finding(percent(x), x is not None and x >= 1) for x in row["nmse"]["per_joint"]),
        ]
        for family, row in report["families"].items()
    ]
    text = "nMSE on test of each joint; a joint on which a family is no better than the mean is "
    return Section("Each joint", f"{text}marked.", [PageTable(["family", *names], rows)])


def _seeds(report: Report) -> Section:
    rows: list[list[Cell]] = [
        [
            seed["checkpoint"],
            percent(seed["val"]),
            percent(seed["test"]),
            "loaded" if seed["train_seconds"] is None else f"{seed['train_seconds']:.0f} s",
        ]
        for family in report["families"].values()
        for seed in family["seeds"]
    ]
    head = ("checkpoint", "nMSE validation", "nMSE test", "training")
    text = "All training runs; the seed with the lowest validation error stands for its family."
    return Section("Each seed", text, [PageTable(head, rows)])


def bar_chart(
    title: str,
    label: str,
    categories: Sequence[str],
    series: Sequence[Mapping[str, Any]],
    log: bool = False,
) -> Chart:
    """Return a bar chart.

    Args:
        title: of the chart.
        label: of the values, with their unit.
        categories: names of the groups of bars.
        series: options of the series, as bar_chart.js takes them.
        log: whether the axis is logarithmic.
    """
    options = {
        "title": title,
        "yLabel": label,
        "categories": list(categories),
        "series": list(series),
    }
    return Chart("barChart", options | ({"log": True} if log else {}))


def _percents(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]

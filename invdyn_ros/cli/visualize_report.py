"""`invdyn visualize report`: write the page of a report again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from invdyn_ros.config import Validated, load_json
from invdyn_ros.evaluation.pages.report_page import Section, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.report_keys.registry import REPORT_KEYS

RECORDED = ("evaluate", "teleop", "grasp_sim", "gravity_compensation")
"""Kinds of reports whose pages also have curves, which the JSON file lacks."""
MEDIA = ("teleop.mp4", "grasp.mp4", "summary.png", "compare.png")
TELLING_KEYS = {
    "families": "compare",
    "baselines": "evaluate",
    "episodes": "grasp_sim",
    "frames": "teleop",
    "pushes": "gravity_compensation",
}
"""Key of a report without an origin -> its kind."""


@dataclass(frozen=True)
class ReportOptions(Validated):
    """Write the page of a report from its JSON file, without curves that only the run had."""

    file: tyro.conf.Positional[Path]
    """JSON file of a report of evaluate, compare, benchmark, teleop or grasp_sim."""
    out: Path | None = None
    """Page to write; default: that beside the file."""


def write_report(options: ReportOptions) -> list[Path]:
    """Write the page and return its path.

    Raises:
        ValueError: the file is no report, or its page exists and may have more than the new one.
    """
    report = load_json(options.file, "write the report again")
    kind = report_kind(report, options.file)
    page = options.out or options.file.with_suffix(".html")
    if options.out is None and kind in RECORDED and page.exists():
        raise ValueError(
            f"{page} exists and may have curves that {options.file} lacks; give --out PAGE.html"
        )
    names = [options.file.with_suffix(".png").name, *MEDIA]
    media = [options.file.with_name(name) for name in names]
    try:
        sections = report_sections(kind, report)
        if kind in RECORDED:
            text = "Curves and pictures are only in the page that the run itself wrote."
            sections.append(Section("Curves", text))
        written = write_report_page(options.file, kind, report, sections, media, page)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{options.file} is no complete report of {kind}: {error!r}") from error
    return [written]


def report_kind(report: Mapping[str, Any], file: Path) -> str:
    """Return the kind of a report.

    Args:
        report: the report.
        file: its file, for the message.

    Raises:
        ValueError: it is no report.
    """
    kind = (report.get("run") or {}).get("kind")
    if kind is None and "benchmark" in report:
        kind = f"benchmark {report['benchmark']}"
    if kind is None:
        kind = next((name for key, name in TELLING_KEYS.items() if key in report), None)
    if kind not in REPORT_KEYS:
        raise ValueError(f"{file} is no report; there are reports of {', '.join(REPORT_KEYS)}")
    return str(kind)

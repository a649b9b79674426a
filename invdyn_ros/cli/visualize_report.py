"""`invdyn visualize report`: write the page of a report again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from invdyn_ros.config import Validated, load_json
from invdyn_ros.data.output_options import RUN_MEDIA, OutputOptions
from invdyn_ros.evaluation.pages.report_page import Section, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.report_keys.registry import REPORT_KEYS

RECORDED = ("evaluate", "teleop", "grasp_sim", "gravity_compensation")
"""Kinds of reports whose pages also have curves, which the JSON file lacks."""
MEDIA = (*RUN_MEDIA, "compare.png")
TELLING_KEYS = {
    "families": "compare",
    "baselines": "evaluate",
    "episodes": "grasp_sim",
    "frames": "teleop",
    "pushes": "gravity_compensation",
}
"""Key of a report without an origin -> its kind."""


@dataclass(frozen=True)
class ReportOptions(OutputOptions, Validated):
    """Write the page of a report from its JSON file, without curves that only the run had."""

    file: tyro.conf.Positional[Path]
    """JSON file of a report of evaluate, compare, benchmark, teleop or grasp_sim."""
    out: Path | None = None
    """Page to write; default: that beside the file."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the page."""
        yield "--out", self.page

    @property
    def page(self) -> Path:
        """The page to write."""
        return self.out or self.file.with_suffix(".html")


def write_report(options: ReportOptions) -> list[Path]:
    """Write the page and return its path.

    Raises:
        ValueError: the file is no report.
    """
    report = load_json(options.file, "write the report again")
    kind = report_kind(report, options.file)
    names = [options.file.with_suffix(".png").name, *MEDIA]
    media = [options.file.with_name(name) for name in names]
    try:
        sections = report_sections(kind, report)
        if kind in RECORDED:
            text = "Curves and pictures are only in the page that the run itself wrote."
            sections.append(Section("Curves", text))
        written = write_report_page(options.file, kind, report, sections, media, options.page)
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

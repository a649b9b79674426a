"""Report pages: an HTML file beside the JSON of a report, with tables, curves and meanings."""

from __future__ import annotations

import math
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from invdyn_ros.evaluation.headlines import Finding, headline
from invdyn_ros.evaluation.pages.page import CHART_SCRIPTS, render_page, write_page
from invdyn_ros.evaluation.report_keys.registry import REPORT_KEYS, find_key, leaves

MAX_EMBEDDED = 4_000_000  # [byte] of a video or picture, above which the page has a link to it
MAX_ITEMS = 24  # of a list that are written out
MIME_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}

Cell = str | Finding
"""Text of a cell; a finding that is bad is marked."""


class PageTable(NamedTuple):
    """A table.

    Attributes:
        head: titles of the columns.
        rows: cells of each row.
        column_notes: meaning of each column in words, as (title, meaning) pairs.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    column_notes: Sequence[tuple[str, str]] = ()


class Chart(NamedTuple):
    """A chart: the name of its function in the scripts, and its options."""

    function: str
    options: Mapping[str, Any]


class Section(NamedTuple):
    """Part of a report page.

    Attributes:
        title: heading.
        text: what it shows, in words.
        tables: its tables.
        charts: its charts.
        failures: its gallery of failures.
    """

    title: str
    text: str
    tables: Sequence[PageTable] = ()
    charts: Sequence[Chart] = ()
    failures: Sequence[Failure] = ()


class Failure(NamedTuple):
    """One of the worst moments, windows or episodes.

    Attributes:
        title: what failed.
        text: cause and figures.
        images: JPEG images, each with its caption.
        charts: charts of it.
    """

    title: str
    text: str
    images: Sequence[tuple[str, bytes]] = ()
    charts: Sequence[Chart] = ()


class KeyRow(NamedTuple):
    """A key of the report, with its value in words."""

    path: str
    value: str
    unit: str
    description: str


class KeyGroup(NamedTuple):
    """All keys below one key of the report."""

    name: str
    description: str
    rows: list[KeyRow]


class Media(NamedTuple):
    """A picture or video beside the report; `address` is None where there is only a link."""

    name: str
    kind: str
    address: str | None


def write_report_page(
    file: Path,
    kind: str,
    report: Mapping[str, Any],
    sections: Sequence[Section],
    media: Iterable[Path] = (),
    page: Path | None = None,
) -> Path:
    """Write the page of a report beside its JSON file and return its path.

    Args:
        file: JSON file of the report.
        kind: kind of the report, a key of REPORT_KEYS.
        report: the report.
        sections: what the page shows beside the headline and the keys.
        media: pictures and videos beside the report; those that are missing are left out.
        page: file to write; None: that beside the JSON file.
    """
    page = page or file.with_suffix(".html")
    charts: list[Chart] = []

    def chart_number(chart: Chart) -> int:
        charts.append(chart)
        return len(charts) - 1

    values = {
        "findings": headline(kind, report),
        "origin": _origin(report),
        "json_name": os.path.relpath(file, page.parent),
        "sections": sections,
        "media": [_media(path, page.parent) for path in media if path.is_file()],
        "groups": key_groups(kind, report),
        "chart_number": chart_number,
        "data_address": _data_address,
        "is_finding": lambda cell: isinstance(cell, Finding),
    }
    title = f"{kind} of {report.get('arm') or report.get('robot') or 'this package'}"
    title = kind if kind.startswith("benchmark") else title
    data = {"charts": [{"function": c.function, "options": c.options} for c in _charts(sections)]}
    html = render_page(
        title, "report.html", values, data=data, scripts=(*CHART_SCRIPTS, "report.js")
    )
    return write_page(page, html)


def attempt_page(file: Path, write: Callable[[], Path]) -> Path | None:
    """Write a page and return its path; a failure is one line of warning, and None.

    The report is written already, and counts. A page of an earlier report is removed.

    Args:
        file: JSON file of the report.
        write: writes the page.
    """
    try:
        return write()
    except Exception as error:  # whatever fails, the report and the exit code remain
        reason = " ".join(str(error).split()) or repr(error)
        print(f"page not written: {type(error).__name__}: {reason}", file=sys.stderr)
        with suppress(OSError):
            file.with_suffix(".html").unlink(missing_ok=True)
        return None


def key_groups(kind: str, report: Mapping[str, Any]) -> list[KeyGroup]:
    """Return all keys of a report with values and meaning, grouped by their first name.

    Args:
        kind: kind of the report.
        report: the report.
    """
    groups: dict[str, KeyGroup] = {}
    for path, value in leaves(report):
        key, name = find_key(kind, path), path[0].removesuffix("[]")
        top = REPORT_KEYS[kind].get(name)
        group = groups.setdefault(name, KeyGroup(name, top.description if top else "", []))
        unit = "" if key is None else key.unit
        if unit == "action unit":
            unit = str(report.get("action_unit", unit))
        meaning = "not described" if key is None else key.description
        text = value_text(value, report.get("joint_names"), "per_joint" in path)
        group.rows.append(KeyRow(".".join(path), text, unit, meaning))
    return list(groups.values())


def value_text(
    value: Any, joint_names: Sequence[str] | None = None, per_joint: bool = False
) -> str:
    """Return a value of a report as text.

    Args:
        value: the value.
        joint_names: names of the joints.
        per_joint: whether the value is a list with one number per joint.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list):
        texts = [value_text(item) for item in value[:MAX_ITEMS]]
        if per_joint and joint_names and len(joint_names) == len(value):
            texts = [f"{name} {text}" for name, text in zip(joint_names, texts, strict=False)]
        rest = f", and {len(value) - MAX_ITEMS} more" if len(value) > MAX_ITEMS else ""
        return ", ".join(texts) + rest if texts else "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) or "none"
    return str(value)


def number_text(value: float | None, digits: int = 4) -> str:
    """Return a number with some significant digits; a dash for None."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    return f"{value:.0f}" if 10 ** (digits - 1) <= abs(value) < 1e7 else f"{value:.{digits}g}"


def _charts(sections: Sequence[Section]) -> list[Chart]:
    """Return all charts in the order in which the template numbers them."""
    charts = []
    for section in sections:
        charts += list(section.charts)
        for failure in section.failures:
            charts += list(failure.charts)
    return charts


def _origin(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return command, date and machine of a report."""
    values = {**report.get("machine", {}), **report.get("run", {})}
    machine = f"{values['cores']} x {values['cpu']}" if "cpu" in values else ""
    if load := values.get("load_average"):
        machine += f", load {load[0]} before"
    rows = {
        "Command": values.get("command"),
        "Date": values.get("date"),
        "Machine": machine,
        "System": values.get("system"),
        "Version": values.get("version"),
    }
    return [(name, str(value)) for name, value in rows.items() if value]


def _media(path: Path, folder: Path) -> Media:
    kind = "video" if path.suffix == ".mp4" else "picture"
    name = os.path.relpath(path, folder)
    if path.stat().st_size > MAX_EMBEDDED:
        return Media(name, kind, None)
    return Media(name, kind, _data_address(path.read_bytes(), MIME_TYPES[path.suffix]))


def _data_address(content: bytes, mime_type: str = "image/jpeg") -> str:
    return f"data:{mime_type};base64,{b64encode(content).decode()}"

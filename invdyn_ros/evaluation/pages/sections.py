"""Sections of the page of any report, from what its JSON file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from invdyn_ros.evaluation.pages.benchmark_sections import benchmark_sections
from invdyn_ros.evaluation.pages.floating_sections import floating_sections
from invdyn_ros.evaluation.pages.model_sections import compare_sections, evaluate_sections
from invdyn_ros.evaluation.pages.report_page import Section
from invdyn_ros.evaluation.pages.run_sections import grasp_sections, teleop_sections

SECTIONS: dict[str, Callable[[Mapping[str, Any]], list[Section]]] = {
    "evaluate": evaluate_sections,
    "compare": compare_sections,
    "benchmark": benchmark_sections,
    "teleop": teleop_sections,
    "grasp_sim": grasp_sections,
    "gravity_compensation": floating_sections,
}
"""First word of a kind of report -> function that returns its sections."""


def report_sections(kind: str, report: Mapping[str, Any]) -> list[Section]:
    """Return the sections of the page of a report.

    Args:
        kind: kind of the report, a key of REPORT_KEYS.
        report: the report.
    """
    return SECTIONS[kind.split()[0]](report)

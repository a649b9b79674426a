"""Options of every benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdyn_ros.config import Validated
from invdyn_ros.data.output_options import OutputOptions


class InterruptedBenchmark(KeyboardInterrupt):
    """Ctrl-C in a benchmark that has a report of what it had measured by then."""

    def __init__(self, report: dict[str, Any]) -> None:
        """Take the report."""
        super().__init__()
        self.report = report


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(OutputOptions, Validated):
    """Base class of the options of a benchmark."""

    report: Path | None = None
    """JSON file to write, with the plots and pages of the benchmark beside it."""

    def __post_init__(self) -> None:
        """Check the fields and the name of the report, before anything is measured."""
        super().__post_init__()
        if self.report is not None and (self.report.suffix != ".json" or self.report.is_dir()):
            raise ValueError(f"--report {self.report} is not a .json file")

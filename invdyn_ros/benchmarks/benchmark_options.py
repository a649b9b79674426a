"""Options of every benchmark, and what it has measured so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, settings_of
from invdyn_ros.config import Validated
from invdyn_ros.data.output_options import OutputOptions


class Measurement:
    """What a benchmark has measured so far, of which Ctrl-C leaves a report.

    Attributes:
        machine: see `machine_info`.
        settings: everything the numbers depend on.
        rows: method -> column -> number, one for each case that is measured.
        so_far: returns the report on these cases, for a benchmark whose rows are of many cases.
    """

    def __init__(self, name: str, unit: str, settings: dict[str, Any], torch_threads: int) -> None:
        """Start before the first case is measured."""
        self._name, self._unit = name, unit
        self.machine, self.settings = machine_info(torch_threads), settings
        self.rows: dict[str, Row] = {}
        self.so_far: Callable[[], dict[str, Any]] = self.report

    def report(
        self,
        settings: Mapping[str, Any] | None = None,
        ratio: Mapping[str, Row] | None = None,
        **details: Any,
    ) -> dict[str, Any]:
        """Return the report on all rows, see `benchmark_report`.

        Args:
            settings: others than `settings`.
            ratio: method -> column -> its number divided by that of a peer.
            **details: further keys.
        """
        return benchmark_report(
            self._name,
            unit=self._unit,
            machine=self.machine,
            settings=self.settings if settings is None else settings,
            rows=self.rows,
            ratio=ratio,
            **details,
        )


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

    def begin(self, name: str, unit: str, torch_threads: int = 1) -> Measurement:
        """Return the measurement of a benchmark with these options.

        Args:
            name: of the benchmark.
            unit: of the columns.
            torch_threads: number of threads of PyTorch.
        """
        measurement = Measurement(name, unit, settings_of(self), torch_threads)
        self.__dict__["measurement"] = measurement  # it is no option
        return measurement

    def interrupted_report(self) -> dict[str, Any] | None:
        """Return the report on what was measured before Ctrl-C; None if that is nothing."""
        measurement: Measurement | None = self.__dict__.get("measurement")
        report = None if measurement is None else measurement.so_far()
        return report if report and report["rows"] else None

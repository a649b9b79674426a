"""Report of a benchmark, and its text table."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from invdyn_ros.config import to_mapping
from invdyn_ros.evaluation.run_info import cpu_model, num_cores

Row = dict[str, float]
MEGABYTE = 1024  # kB


def machine_info(torch_threads: int) -> dict[str, Any]:
    """Describe this machine and its load; call it before measuring."""
    import torch

    return {
        "cpu": cpu_model(),
        "cores": num_cores(),
        "load_average": [round(load, 2) for load in os.getloadavg()],  # over 1, 5, 15 minutes
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch_threads,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Measure the increase of the peak memory of this process within the context (Linux only).

    Yields:
        Function that returns it [MB], after the context.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
    before = _memory_kb("VmRSS")
    peak: list[float] = []
    yield lambda: peak[0]
    peak.append((_memory_kb("VmHWM") - before) / MEGABYTE)


def _memory_kb(name: str) -> int:
    """Return an entry of this process's memory status [kB]."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def quantiles(values: Sequence[float] | np.ndarray, percentiles: Sequence[int]) -> Row:
    """Return percentiles and the maximum as {"p50": ..., "max": ...}.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("nothing was measured; measure longer")
    row = {f"p{q}": round(float(np.percentile(values, q)), 4) for q in percentiles}
    return row | {"max": round(float(np.max(values)), 4)}


def ratios(row: Mapping[str, float], peer: Mapping[str, float], keys: Sequence[str]) -> Row:
    """Return row / peer of some columns.

    Args:
        row: of the method of interest.
        peer: row of the method to compare with.
        keys: columns.
    """
    return {key: round(row[key] / peer[key], 3) for key in keys}


def settings_of(config: Any) -> dict[str, Any]:
    """Return the settings of a benchmark, without those of the report file."""
    return {k: v for k, v in to_mapping(config).items() if k not in ("report", "overwrite")}


def benchmark_report(
    name: str,
    *,
    unit: str,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    rows: Mapping[str, Row],
    ratio: Mapping[str, Row] | None = None,
    **details: Any,
) -> dict[str, Any]:
    """Return the report of a benchmark, as `format_table` and `--report` take it.

    Args:
        name: of the benchmark, a key of `cli.benchmark.BENCHMARKS`.
        unit: of the columns.
        machine: see `machine_info`.
        settings: everything the numbers depend on.
        rows: method -> column -> number.
        ratio: method -> column -> its number divided by that of a peer.
        **details: further keys of the report that the table does not show.
    """
    return {
        "benchmark": name,
        "unit": unit,
        "machine": dict(machine),
        "settings": dict(settings),
        "rows": dict(rows),
        "ratio": dict(ratio or {}),
        **details,
    }


def format_table(report: Mapping[str, Any]) -> str:
    """Return the text table of a report: its rows and its ratios."""
    rows: dict[str, Row] = dict(report["rows"])
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [["", *columns]]
    lines += [[name, *(_number(row.get(c)) for c in columns)] for name, row in rows.items()]
    lines += [
        [f"{name}, ratio", *(_number(row.get(c)) for c in columns)]
        for name, row in report["ratio"].items()
    ]
    width = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    text = [
        "  ".join([line[0].ljust(width[0]), *map(str.rjust, line[1:], width[1:])]).rstrip()
        for line in lines
    ]
    machine = report["machine"]
    load = machine["load_average"][0]
    head = f"{report['benchmark']} [{report['unit']}]"
    return "\n".join([f"{head} on {machine['cores']} x {machine['cpu']}, load {load}", *text])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"

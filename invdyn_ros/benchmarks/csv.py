"""Benchmark of reading a large CSV file of a recording, compared with pyarrow alone.

`invdyn collect sequence` makes a checked trajectory with accelerations of it, pyarrow a table.
Each call has a process of its own, in turns. Its duration is that after the imports, and its
memory the increase of the peak (Linux only).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.csv import CSVWriter, read_csv
from pydantic import PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import (
    peak_memory,
    ratios,
)
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import read_sequence
from invdyn_ros.workers import run_in_new_process

JOINTS, RATE = 6, 500.0  # number of joints and rate [Hz] of the recording
ROWS_PER_WRITE = 500_000
OURS, PEER = "collect sequence", "pyarrow"


@dataclass(frozen=True)
class CsvBenchmarkConfig(BenchmarkOptions):
    """Duration and memory of reading a CSV file of stamps, positions, velocities and efforts."""

    samples: PositiveInt = 10_000_000
    """Rows of the file; 10 million are 1.8 GB in a folder of its own for temporary files."""
    repetitions: PositiveInt = 3
    """Measurements of each, of which the fastest counts."""


def measure_csv(config: CsvBenchmarkConfig) -> dict[str, Any]:
    """Return the report."""
    measured = config.begin("csv", "s and MB")
    rows, readers = measured.rows, {OURS: read_as_trajectory, PEER: read_as_table}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.csv"
        write_recording(file, config.samples)
        turns = [name for _ in range(config.repetitions) for name in readers]
        for name in tqdm(turns, unit="read", file=sys.stderr):
            seconds, memory = run_in_new_process(measure_call, readers[name], file)
            best = rows.setdefault(name, {"s": np.inf, "MB": np.inf})
            best["s"] = min(best["s"], round(seconds, 3))
            best["MB"] = min(best["MB"], round(memory, 3))
    return measured.report(ratio={OURS: ratios(rows[OURS], rows[PEER], ("s", "MB"))})


def write_recording(file: Path, samples: int) -> None:
    """Write a recording of some samples as CSV."""
    random = np.random.default_rng(0)
    names = ["time", *(f"{kind}_{k}" for kind in ("q", "qd", "tau") for k in range(JOINTS))]
    schema = pa.schema([(name, pa.float64()) for name in names])
    speed = np.arange(1, JOINTS + 1) / 7
    with CSVWriter(file, schema) as writer:
        for start in range(0, samples, ROWS_PER_WRITE):
            t = np.arange(start, min(start + ROWS_PER_WRITE, samples))[:, None] / RATE
            parts = (np.sin(t * speed), speed * np.cos(t * speed), 30 * np.sin(1.4 * t * speed))
            noise = random.normal(size=parts[2].shape)
            columns = np.concatenate([t, *parts[:2], parts[2] + noise], axis=1).round(5)
            writer.write_table(pa.table(list(columns.T), schema=schema))


def read_as_trajectory(file: Path) -> ImportResult:
    """Read a file as `invdyn collect sequence` does."""
    config = SequenceConfig(position="q_*", velocity="qd_*", action="tau_*", unit="N m")
    return read_sequence(file, (), config)


def read_as_table(file: Path) -> object:
    """Read a file with pyarrow."""
    return read_csv(file)


def measure_call(read: Callable[[Path], object], file: Path) -> tuple[float, float]:
    """Return duration [s] and memory [MB] of a call in this process."""
    with peak_memory() as megabytes:
        start = time.perf_counter()
        result = read(file)
        seconds = time.perf_counter() - start
    del result
    return seconds, megabytes()

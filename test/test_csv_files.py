"""CSV files as programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invdyn_ros.benchmarks.csv import (
    CsvBenchmarkConfig,
    measure_csv,
    read_as_trajectory,
    write_recording,
)
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import read_sequence

COLUMNS: dict[str, Any] = {
    "position": "q_0,q_1",
    "velocity": None,
    "action": "tau_0,tau_1",
    "unit": "N m",
}
NAMES = "time, q_0, q_1, tau_0, tau_1"
CSV_FILES = {  # header and rows as programs write them
    "comma": lambda head, rows: "\n".join([head, *rows]),
    "semicolon": lambda head, rows: "\n".join([head, *rows]).replace(",", ";"),
    "decimal comma": lambda head, rows: (
        "\r\n".join([head, *rows]).replace(",", ";").replace(".", ",")
    ),
    "tab": lambda head, rows: "\n".join([head, *rows]).replace(",", "\t"),
    "comments": lambda head, rows: "\n".join(["# of my arm, in rad", "", head, *rows]),
    "numpy.savetxt": lambda head, rows: "\n".join(["# " + head, *rows]),
    "no header": lambda head, rows: "\n".join(rows),
    "aligned text": lambda head, rows: "\n".join([head, *rows]).replace(",", "   "),
    "titles": lambda head, rows: "\n".join(["My arm 3", "Rate, 50", "", head, *rows, "# end"]),
    "units": lambda head, rows: "\n".join([head, "s, rad, mrad,Nm,N m", *rows]),
    "R": lambda head, rows: "\n".join([head, *(f'"{k}",{row}' for k, row in enumerate(rows))]),
    "levels": lambda head, rows: "\n".join([head.replace("time", ""), "time,,,,", *rows]),
    "merged": lambda head, rows: "\n".join([head, *(f"{r}\n{r[:4]}5,,,," for r in rows)]),
    "LabVIEW": lambda head, rows: "\n".join(
        ["LabVIEW,", "Version,2", "Samples,50,50,50,50,", "End,,,,", head + ",Comment", *rows]
    ),
    "quoted": lambda head, rows: "\n".join(
        [head, *('"' + row.replace(",", '","').replace(".", ",") + '"' for row in rows)]
    ),
    "cut off": lambda head, rows: "\n".join([head, *rows, "0.0,1.0"]),
}


def read(path: Path, **values: Any) -> list[Trajectory]:
    config = SequenceConfig(**{"acceleration": "filter", "rate": 50.0} | values)
    return read_sequence(path, (), config).trajectories


def write_csv(path: Path, kind: str, encoding: str = "utf-8-sig", **replaced: str) -> Path:
    """Write 50 rows with 20 ms between them and torques of three times the positions."""
    q = np.linspace(0, 1, 50)[:, None] ** [1, 2]
    numbers = np.hstack([np.arange(50)[:, None] / 50, q, 3.0 * q])
    rows = [",".join(f"{value:.12f}" for value in row) for row in numbers]
    for row, text in replaced.items():
        rows[int(row[1:])] = text
    path.write_bytes(CSV_FILES[kind](NAMES, rows).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [*((kind, "utf-8-sig") for kind in CSV_FILES), ("tab", "utf-16"), ("aligned text", "utf-16")],
)
def test_csv_files_of_all_dialects_are_read(tmp_path: Path, kind: str, encoding: str) -> None:
    path = write_csv(tmp_path / "data.csv", kind, encoding)
    columns = COLUMNS | {"time": "time"}
    if kind == "no header":
        columns |= {"position": "1:3", "action": "3:5", "time": "0:1"}
    (part,) = read(path, **columns, rate=None)
    np.testing.assert_allclose(part.position[:, 0], np.linspace(0, 1, 50), atol=1e-9)
    np.testing.assert_allclose(part.time, np.arange(50) / 50, atol=1e-9)
    scale = [3.0, 3000.0] if kind == "units" else [3.0, 3.0]
    np.testing.assert_allclose(part.action, scale * part.position, atol=1e-9)


def test_columns_units_stamps_and_episodes_are_found_by_name(tmp_path: Path) -> None:
    """Columns in the order of a joint state, several units, nobody's columns beside them."""
    q = np.linspace(0, 1, 40)[:, None] ** [1, 2, 3]
    head = "trial;t [ms];note;tau_0 (mNm);tau_1 (Nm);tau_2 (Nm);tau_ext_0;q_2 [deg];q_0 [rad];q_1"
    rows = [
        f"run {k // 20};{20 * (k % 20)};ok;{3e3 * a};{3 * b};{3 * c};x;{np.degrees(c)};{a};{b}"
        for k, (a, b, c) in enumerate(q)
    ]
    path = tmp_path / "data.csv"
    path.write_bytes("\n".join([head.replace("deg", "°"), *rows]).encode("cp1252"))
    columns: dict[str, Any] = {"position": "q_*", "action": "tau_*", "acceleration": "none"}
    result = read_sequence(path, (), SequenceConfig(**columns))
    parts = result.trajectories
    assert [(len(part), part.action_unit) for part in parts] == [(20, "N m"), (20, "N m")]
    np.testing.assert_allclose(np.vstack([p.position for p in parts]), q, atol=1e-12)
    np.testing.assert_allclose(np.vstack([p.action for p in parts]), 3 * q, atol=1e-12)
    np.testing.assert_allclose(parts[1].time, np.arange(20) / 50, atol=1e-12)
    for words in ("q_0 [rad] to q_2 [°] converted", "stamps 't [ms]'", "episodes by 'trial'"):
        assert words in result.notes[0]
    with pytest.raises(ValueError, match=r"'tau_0 \(mNm\)' is in N m, but --unit is A"):
        read(path, **columns, unit="A", rate=None)


def test_columns_named_after_joints_are_in_the_order_of_the_joints(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = [f"{k / 50},{k},{-k},{3 * k},{-3 * k}" for k in range(20)]
    path.write_text("\n".join(["time,elbow/q,base/q,elbow/tau,base/tau", *rows, *rows]))
    config = SequenceConfig("*/q", "N m", action="*/tau", acceleration="none")
    parts = read_sequence(path, ("base", "elbow"), config).trajectories
    for part in parts:  # the stamps restart
        np.testing.assert_array_equal(part.position[:, 0], -np.arange(20.0))
        np.testing.assert_array_equal(part.action, 3 * part.position)
    assert len(parts) == 2
    (tmp_path / "README.txt").write_text("of my arm, 3 trials")
    folder = read_sequence(tmp_path, ("base", "elbow"), config)
    assert [part.recording for part in folder.trajectories] == ["data", "data"]
    assert "README.txt: no recording" in folder.notes[0]
    path.write_text(path.read_text().replace("time", "step"))
    with pytest.raises(ValueError, match="give --rate HZ, or --time COLUMN, one of step"):
        read_sequence(path, (), config)


def test_stamps_have_the_stated_unit_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    rows = {f"r{k}": f"{20 * k},{k},1,3,3" for k in range(50)}
    path = write_csv(tmp_path / "data.csv", "comma", **rows)
    columns = COLUMNS | {"time": "time", "rate": None}
    with pytest.raises(ValueError, match=r"time rises by 20 s .*--time-unit s\|ms"):
        read(path, **columns, time_unit="s")
    for stated in ({"time_unit": "ms"}, {}):  # the only unit of a usual rate
        (part,) = read(path, **columns, **stated)
        np.testing.assert_allclose(np.diff(part.time), 0.02, atol=1e-9)


def test_damaged_csv_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for text, message in (
        ("0.1,abc,1,3,3", r"column 'q_0' holds 'abc' in row 7 \(of 1 such rows\); repair"),
        ("0.1,,1,3,3", r"row 7 holds nan \(of 1 such rows\)"),
        ("0.1,1,1", "the row '0.1,1,1' has 3 values, others have 5"),
    ):
        path = write_csv(tmp_path / "data.csv", "comma", r7=text)
        with pytest.raises(ValueError, match=message):
            read(path, **COLUMNS)
    path.write_text(path.read_text().replace("q_1", "q_0"))
    with pytest.raises(ValueError, match="its header has 'q_0' twice"):
        read(path, **COLUMNS | {"position": "q_0", "action": "tau_0"})


@pytest.mark.slow
def test_benchmark_reads_the_recording_that_it_writes(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.csv", 3000)
    (trajectory,) = read_as_trajectory(tmp_path / "a.csv").trajectories
    assert trajectory.position.shape == (3000, 6) and trajectory.rate == pytest.approx(500)
    rows = measure_csv(CsvBenchmarkConfig(samples=3000, repetitions=1))["rows"]
    assert all(value > 0 for row in rows.values() for value in row.values())

"""`invdyn collect sequence`: tables of motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from collect_command import Capture, collect, refused
from test_sequence_files import arrays, save_hdf5, save_npz

from invdyn_ros.data.dataset import read_dataset

COLUMNS = ["--position", "0:2", "--velocity", "2:4", "--rate", "50", "--unit", "N m"]


def test_sequence_accounts_for_all_rows(tmp_path: Path, capsys: Capture) -> None:
    columns = arrays((30, 1, 20))
    columns["actions"][40] = np.inf
    path = save_npz(tmp_path / "pusher", columns)
    assert "row 40 holds inf" in refused(tmp_path / "out", capsys, "sequence", path, *COLUMNS)
    assert collect(tmp_path / "out", "sequence", path, *COLUMNS, "--skip-invalid") == 0
    output = capsys.readouterr().out
    assert "51 rows in, 54 rows in 4 episodes out; -1 rows that are not finite; +4 final" in output
    assert read_dataset(tmp_path / "out").info.robot == "pusher"


def _no_stamps(path: Path) -> list[object]:
    columns = arrays((5,))
    del columns["next_observations"]
    times = {"t": np.array([0.0, 0.1, 0.2, 0.15, 0.3])}
    arguments = [*COLUMNS[:4], "--unit", "N m", "--time", "t"]
    return [save_npz(path, columns | times), *arguments]


def _one_sample(path: Path) -> list[object]:
    columns = arrays((30, 1, 20))
    del columns["next_observations"]
    return [save_npz(path, columns), *COLUMNS]


def _truncated(path: Path) -> list[object]:
    file = save_hdf5(path, arrays())
    file.write_bytes(file.read_bytes()[:3000])
    return [file, *COLUMNS]


def _pickled(path: Path) -> list[object]:
    np.savez(path.with_suffix(".npz"), actions=np.array([None]))
    return [path.with_suffix(".npz"), *COLUMNS]


def _empty(path: Path) -> list[object]:
    return [save_npz(path, {k: v[:0] for k, v in arrays().items()}), *COLUMNS]


def _text(path: Path) -> list[object]:
    path.with_suffix(".mat").write_text("q,qd")
    return [path.with_suffix(".mat"), *COLUMNS]


SEQUENCES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "time backwards": (_no_stamps, "row 3 has time 0.15 s after 0.2 s; sort the rows"),
    "one sample": (_one_sample, "the episode from row 30 on has 1 samples; it needs 2"),
    "truncated": (_truncated, "not a readable hdf5 file"),
    "pickled": (_pickled, "no column 'actions'; it has none of numbers"),
    "empty": (_empty, "it has no rows"),
    "unknown kind": (_text, "unknown file format; known are .npz"),
    "no such column": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--action", "torque"],
        "no column 'torque'; it has observations",
    ),
    "joint count": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--joints", "a", "b", "c"],
        "4 columns of positions and velocities and 2 of actions, but 3 joints (a, b, c)",
    ),
    "joints of another arm": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--arm", "ur5", "--joints", "a", "b"],
        "joints are a, b; 'ur5' has shoulder_pan_joint",
    ),
    "columns out of range": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--position", "3:5"],
        "observations has 4 columns; 3:5 are out of range",
    ),
    "no time": (
        lambda path: [save_npz(path, arrays()), *COLUMNS[:4], "--unit", "N m"],
        "give --rate HZ, or --time COLUMN",
    ),
    "unknown unit": (
        lambda path: [save_npz(path, arrays()), *COLUMNS[:6], "--unit", "kg"],
        "invalid choice 'kg'",
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_bad_sequence_gives_a_one_line_error_and_no_files(
    tmp_path: Path, capsys: Capture, name: str
) -> None:
    make, message = SEQUENCES[name]
    arguments = make(tmp_path / "bad")
    output = refused(tmp_path / "out", capsys, "sequence", *arguments)
    assert message in output
    assert "bad" in output or name in ("joints of another arm", "no time", "unknown unit")


def test_uneven_stamps_are_resampled_or_kept(tmp_path: Path, capsys: Capture) -> None:
    """Of repeated stamps the first row counts, and nothing is interpolated over a gap."""
    random = np.random.default_rng(0)
    time = np.cumsum(random.uniform(0.008, 0.016, 200))
    time[100:] += 1.0
    motion = np.sin(np.outer(time, [2.0, 3.0]))
    index = np.sort(np.append(np.arange(200), [20, 150]))
    path = save_npz(
        tmp_path / "uneven", {"t": time[index], "q": motion[index], "u": motion[index]}
    )
    columns = ("sequence", path, "--position", "q", "--action", "u", "--unit", "N m")
    assert collect(tmp_path / "out", *columns) == 0
    output = capsys.readouterr().out
    assert "-2 rows with the stamp of another one" in output and "lost (RMS of" in output
    parts, info = read_dataset(tmp_path / "out")
    assert len(parts) == 2 and 80 < info.rate < 86
    for part in parts:
        expected = np.sin(np.outer(part.time, [2.0, 3.0]))
        np.testing.assert_allclose(part.position, expected, atol=1e-6)
        assert np.ptp(np.diff(part.time)) < 1e-9 and len(part.acceleration)
    assert collect(tmp_path / "kept", *columns, "--resample", "off") == 0
    assert "kept so, for time-series models" in capsys.readouterr().out
    (kept,), _ = read_dataset(tmp_path / "kept")
    np.testing.assert_allclose(kept.time, time, rtol=1e-12)
    assert len(kept.acceleration) == 0
    path = save_npz(tmp_path / "coarse", {"t": np.floor(time), "q": motion, "u": motion})
    output = refused(tmp_path / "no", capsys, "sequence", path, *columns[2:])
    assert "of 200 rows have the stamp of the row before; name another column" in output

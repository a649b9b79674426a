"""Result of an import: trajectories, and the number of rows added and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.data.trajectory import Trajectory


class ImportResult(NamedTuple):
    """Trajectories and the number of rows of their source."""

    trajectories: list[Trajectory]
    rows: int
    """Number of rows of the source."""
    changes: dict[str, int]
    """Reason -> number of rows that were added (positive) or left out (negative)."""
    recorded: Sequence[Trajectory] = ()
    """The trajectories before resampling; empty: they were not resampled."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""

    def summary(self) -> str:
        """Return the number of rows in and out, with reasons, in one line.

        Raises:
            RuntimeError: the changes do not add up.
        """
        out = sum(map(len, self.trajectories))
        if self.rows + sum(self.changes.values()) != out:
            raise RuntimeError(f"{self.rows} rows in, {out} out, but changes are {self.changes}")
        reasons = [f"{count:+d} {reason}" for reason, count in self.changes.items() if count]
        line = f"{self.rows} rows in, {out} rows in {len(self.trajectories)} episodes out"
        return "; ".join([line, *reasons])

    def named(self, recording: str) -> ImportResult:
        """Return the result with a name of the recording for motion that has none."""
        named = [
            t if t.recording or len(t.frames) else replace(t, recording=recording)
            for t in self.trajectories
        ]
        return self._replace(trajectories=named)


def with_distinct_recordings(
    results: Sequence[ImportResult], paths: Sequence[Path]
) -> list[ImportResult]:
    """Rename motions of several folders whose recordings have the same name.

    They get the name of their folder, followed by that of the recording if there are several.
    """
    owners = Counter(name for result in results for name in _recordings(result))
    renamed = []
    for result, folder in zip(results, recording_names(paths), strict=True):
        names = _recordings(result)
        new = {n: folder if len(names) == 1 else f"{folder}/{n}" for n in names if owners[n] > 1}
        trajectories = [
            t if len(t.frames) else replace(t, recording=new.get(t.recording, t.recording))
            for t in result.trajectories
        ]
        renamed.append(result._replace(trajectories=trajectories))
    return renamed


def _recordings(result: ImportResult) -> set[str]:
    return {t.recording for t in result.trajectories if not len(t.frames)}


def recording_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file or folder: its stem, or its full name where stems are equal."""
    stems = [
        path.name if path.is_dir() and not _is_store(path) else path.stem.removesuffix(".zarr")
        for path in paths
    ]
    return [
        path.name if stems.count(stem) > 1 else stem
        for path, stem in zip(paths, stems, strict=True)
    ]


def _is_store(path: Path) -> bool:
    """Return whether a folder is named as a file is, such as data.zarr."""
    return path.suffix == ".zarr"


def merge_results(parts: Iterable[ImportResult]) -> ImportResult:
    """Merge several results into one."""
    trajectories, recorded, is_resampled = list[Trajectory](), list[Trajectory](), False
    rows, changes, notes = 0, Counter[str](), list[str]()
    for part in parts:
        trajectories += part.trajectories
        recorded += part.recorded or part.trajectories
        is_resampled |= len(part.recorded) > 0
        rows += part.rows
        notes += part.notes
        for reason, count in part.changes.items():
            changes[reason] += count
    lines = tuple(dict.fromkeys(notes))
    return ImportResult(trajectories, rows, dict(changes), recorded if is_resampled else (), lines)

"""What any source gives: trajectories leave, with an account of every row that entered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from invdyn_ros.data.trajectory import Trajectory


class ImportResult(NamedTuple):
    """Trajectories, and what became of the rows they were made from."""

    trajectories: list[Trajectory]
    rows: int
    """Rows in the source."""
    changes: dict[str, int]
    """Reason -> rows added (positive) or left out (negative)."""

    def summary(self) -> str:
        """Return where every row went, in one line.

        Raises:
            RuntimeError: rows are missing that no reason accounts for.
        """
        out = sum(map(len, self.trajectories))
        if self.rows + sum(self.changes.values()) != out:
            raise RuntimeError(f"{self.rows} rows in, {out} out, but changes are {self.changes}")
        reasons = [f"{count:+d} {reason}" for reason, count in self.changes.items() if count]
        line = f"{self.rows} rows in, {out} rows in {len(self.trajectories)} episodes out"
        return "; ".join([line, *reasons])


def merge_results(parts: Iterable[ImportResult]) -> ImportResult:
    """Return several intakes as one."""
    whole, rows, changes = [], 0, Counter[str]()
    for part in parts:
        whole += part.trajectories
        rows += part.rows
        for reason, count in part.changes.items():
            changes[reason] += count
    return ImportResult(whole, rows, dict(changes))

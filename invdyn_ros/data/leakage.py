"""Whether data to judge by stand in data to learn from: trajectories enter, repeats are named.

SARCOS as usually split has 98% of its test rows in train, and a table of figures on it says which
model memorises best.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from invdyn_ros.data.trajectory import Trajectory

MAX_REST_VELOCITY = (
    1e-6  # [rad/s] slower is at rest; a filter makes this much out of standing encoders
)
SKETCH_SIZE = (
    512  # rows a checkpoint remembers; finds 1 repeat in 100 of an equally large test with 99%
)
HASH_BITS = 48  # of a row's number, which JSON holds exactly
REMEDY = "leave the repeats out with 'invdyn collect dataset DIR --drop-duplicates --out NEW'"


def fingerprint(trajectories: Sequence[Trajectory]) -> str:
    """Tell datasets apart by their content."""
    digest = hashlib.sha256()
    for trajectory in trajectories:
        for values in (
            trajectory.time - trajectory.time[0],
            trajectory.position,
            trajectory.action,
            trajectory.frames,
        ):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def check_no_leakage(train: Sequence[Trajectory], test: Sequence[Trajectory]) -> None:
    """Refuse test data that repeat moments of the motion to learn from.

    Raises:
        ValueError: how many do, and what to do.
    """
    if count := count_duplicates(train, test):
        rows = sum(map(len, test))
        raise ValueError(
            f"{count} of {rows} test rows ({count / rows:.1%}) also stand in train, so a test "
            f"would show what was memorised; {REMEDY}"
        )


def check_not_in_sketch(sketch: Sequence[int], test: Sequence[Trajectory]) -> None:
    """Refuse test data of which the data behind a sketch hold rows.

    Raises:
        ValueError: what share, and what to do.
    """
    if not sketch:
        return
    known, limit = set(sketch), max(sketch) if len(sketch) == SKETCH_SIZE else 2**HASH_BITS
    looked = [number for number in map(_hash, _moving_row_keys(test)) if number <= limit]
    if count := sum(number in known for number in looked):
        raise ValueError(
            f"{count} of {len(looked)} test rows looked at ({count / len(looked):.1%}) stand in "
            "the data the model was trained on; evaluate on those data, of which only the unseen "
            "part counts, or on others"
        )


def row_sketch(trajectories: Sequence[Trajectory]) -> list[int]:
    """Return a fixed share of all rows, as numbers, to recognise them by (bottom-k sketch).

    A row's number is a hash, so the rows with the smallest numbers are drawn at random, and the
    same ones from any data that hold them.
    """
    return sorted({_hash(key) for key in _moving_row_keys(trajectories)})[:SKETCH_SIZE]


def count_duplicates(train: Sequence[Trajectory], test: Sequence[Trajectory]) -> int:
    """Count the rows of test, motion and action, that also stand in train.

    An arm at rest repeats itself, and says nothing by it: such rows do not count.
    """
    seen = {row for trajectory in train for row in row_keys(trajectory)}
    return sum(
        row in seen and not still
        for trajectory in test
        for row, still in zip(row_keys(trajectory), at_rest(trajectory), strict=True)
    )


def at_rest(trajectory: Trajectory) -> np.ndarray:
    """Return which rows (T,) do not move: by their velocity or, if unknown, by the row before."""
    if len(trajectory.velocity):
        return (np.abs(trajectory.velocity) < MAX_REST_VELOCITY).all(1)
    seen = trajectory.position if len(trajectory.position) else trajectory.pixels
    change = (seen[1:] != seen[:-1]).any(1)
    return ~np.concatenate([change[:1] if len(change) else np.ones(1, dtype=bool), change])


def drop_duplicates(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Leave out the moving rows that stand earlier in the data; what is left is cut there.

    Single rows between repeats go too, since one sample is no motion.
    """
    seen: set[bytes] = set()
    kept = []
    for trajectory in trajectories:
        keys, still = row_keys(trajectory), at_rest(trajectory)
        new = np.zeros(len(trajectory), dtype=bool)
        for k, key in enumerate(keys):
            new[k] = still[k] or key not in seen
            seen.add(key)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], new, [False]])))
        pieces = [trajectory[a:b] for a, b in edges.reshape(-1, 2)]
        kept += [piece for piece in pieces if len(piece) > 1]
    return kept


def row_keys(trajectory: Trajectory) -> list[bytes]:
    """Return what tells the rows of a trajectory, motion and action, from others."""
    columns = (
        trajectory.position,
        trajectory.velocity,
        trajectory.acceleration,
        trajectory.action,
    )
    known = [np.empty((len(trajectory), 0)), *(c for c in columns if len(c))]
    rows = np.concatenate(known, axis=1) + 0.0  # -0.0 equals 0.0
    if len(trajectory.position):
        return [row.tobytes() for row in rows]
    pictures = (hashlib.blake2b(row.tobytes()).digest() for row in trajectory.pixels)
    return [row.tobytes() + picture for row, picture in zip(rows, pictures, strict=True)]


def _moving_row_keys(trajectories: Sequence[Trajectory]) -> Iterator[bytes]:
    for trajectory in trajectories:
        still = at_rest(trajectory)
        yield from (key for key, rest in zip(row_keys(trajectory), still, strict=True) if not rest)


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=HASH_BITS // 8).digest(), "big")

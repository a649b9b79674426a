"""Detection of test data that also occur in the training data.

In the usual split of SARCOS, 98% of the test rows are also in the training set, so results on it
rank models by how well they memorise the training data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.typing import Mask

MAX_REST_VELOCITY = 1e-6  # [rad/s] numerical noise of a velocity filter for an arm at rest
SKETCH_SIZE = 512
"""Number of rows; detects 1% of duplicates in an equally large test set with 99% probability."""
HASH_BITS = 48  # of a row's hash, which JSON represents exactly
REMEDY = "drop the duplicates with 'invdyn collect dataset DIR --drop-duplicates --out NEW'"


def fingerprint(trajectories: Sequence[Trajectory]) -> str:
    """Return a hash of the content of a dataset."""
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
    """Check that no test row is also a training row.

    Raises:
        ValueError: some are; the message gives their number and the remedy.
    """
    if count := count_duplicates(train, test):
        rows = sum(map(len, test))
        raise ValueError(
            f"{count} of {rows} test rows ({count / rows:.1%}) are also training rows, so the "
            f"test would measure memorisation; {REMEDY}"
        )


def check_not_in_sketch(sketch: Sequence[int], test: Sequence[Trajectory]) -> None:
    """Check that no test row is in the sketch of a model's training data.

    Raises:
        ValueError: some are; the message gives their fraction and the remedy.
    """
    if not sketch:
        return
    sketched, limit = set(sketch), max(sketch) if len(sketch) == SKETCH_SIZE else 2**HASH_BITS
    checked = [number for number in map(_hash, _moving_row_keys(test)) if number <= limit]
    if count := sum(number in sketched for number in checked):
        raise ValueError(
            f"{count} of {len(checked)} checked test rows ({count / len(checked):.1%}) are in the "
            "data the model was trained on; evaluate on the training dataset, of which only the "
            "held-out part is used, or on other data"
        )


def row_sketch(trajectories: Sequence[Trajectory]) -> list[int]:
    """Return a bottom-k sketch of all moving rows: the smallest of their hashes.

    The rows with the smallest hashes are a random sample, and the same rows are sampled from any
    dataset that contains them.
    """
    return sorted({_hash(key) for key in _moving_row_keys(trajectories)})[:SKETCH_SIZE]


def count_duplicates(train: Sequence[Trajectory], test: Sequence[Trajectory]) -> int:
    """Count the test rows, motion and action, that are also training rows.

    Rows at rest are not counted, since an arm at rest repeats itself without leaking anything.
    """
    train_keys = {row for trajectory in train for row in row_keys(trajectory)}
    return sum(
        row in train_keys and not still
        for trajectory in test
        for row, still in zip(row_keys(trajectory), at_rest(trajectory), strict=True)
    )


def at_rest(trajectory: Trajectory) -> Mask:
    """Return a mask (T,) of the rows at rest, by velocity or else by comparison of rows."""
    if len(trajectory.velocity):
        return np.asarray(np.all(np.abs(trajectory.velocity) < MAX_REST_VELOCITY, axis=1))
    values = trajectory.position if len(trajectory.position) else trajectory.pixels
    change = (values[1:] != values[:-1]).any(1)
    return ~np.concatenate([change[:1] if len(change) else np.ones(1, dtype=bool), change])


def drop_duplicates(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Drop moving rows that occur earlier in the data, and cut the trajectories there.

    Single rows between duplicates are dropped too, because one sample is not a motion.
    """
    keys_so_far: set[bytes] = set()
    result = []
    for trajectory in trajectories:
        keys, still = row_keys(trajectory), at_rest(trajectory)
        new = np.zeros(len(trajectory), dtype=bool)
        for k, key in enumerate(keys):
            new[k] = still[k] or key not in keys_so_far
            keys_so_far.add(key)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], new, [False]])))
        pieces = [trajectory[a:b] for a, b in edges.reshape(-1, 2)]
        result += [piece for piece in pieces if len(piece) > 1]
    return result


def row_keys(trajectory: Trajectory) -> list[bytes]:
    """Return a key for each row, which is equal for rows of equal motion and action."""
    columns = (
        trajectory.position,
        trajectory.velocity,
        trajectory.acceleration,
        trajectory.action,
    )
    blocks = [np.empty((len(trajectory), 0)), *(c for c in columns if len(c))]
    rows = np.concatenate(blocks, axis=1) + 0.0  # -0.0 equals 0.0
    if len(trajectory.position):
        return [row.tobytes() for row in rows]
    image_hashes = (hashlib.blake2b(row.tobytes()).digest() for row in trajectory.pixels)
    return [row.tobytes() + digest for row, digest in zip(rows, image_hashes, strict=True)]


def _moving_row_keys(trajectories: Sequence[Trajectory]) -> Iterator[bytes]:
    for trajectory in trajectories:
        still = at_rest(trajectory)
        yield from (key for key, rest in zip(row_keys(trajectory), still, strict=True) if not rest)


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=HASH_BITS // 8).digest(), "big")

"""Trajectories from transitions (s, a, s').

An action is held from its state to the next one, so that

    qdd = (qd' - qd) / dt

is its acceleration; this is exact if a simulator updates the velocity with it. The last state
repeats the action and the acceleration of the interval that ends there.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from invdyn_ros.data.trajectory import Trajectory


def transitions_to_trajectory(
    time: np.ndarray,
    state: np.ndarray,
    action: np.ndarray,
    names: tuple[str, ...],
    unit: str,
    recording: str = "",
) -> Trajectory:
    """Return the trajectory of K consecutive transitions; K = 1 is a triplet.

    Args:
        time: (K + 1,) [s].
        state: (K + 1, 2n) positions and velocities.
        action: (K, n) each held from its state to the next one.
        names: names of the n joints.
        unit: unit of the actions.
        recording: name of the recording.
    """
    n = len(names)
    acceleration, held = np.empty((2, len(time), n))
    np.subtract(state[1:, n:], state[:-1, n:], out=acceleration[:-1])
    acceleration[:-1] /= np.diff(time)[:, None]
    held[:-1] = action
    acceleration[-1], held[-1] = acceleration[-2], action[-1]
    return Trajectory(
        time, state[:, :n], state[:, n:], acceleration, held, names, unit, recording=recording
    )


def chain_transitions(
    state: np.ndarray, next_state: np.ndarray, episode_end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Order transitions so that those of one motion are consecutive.

    Neighbours in time are almost equal, so the triplets of one motion must stay in one episode.
    The successor of a transition is the next row if that row starts in the next state, or else the
    only other row that does.

    Args:
        state: (N, d) before each transition.
        next_state: (N, d) after it.
        episode_end: (N,) whether an episode is known to end there.

    Returns:
        Indices of the rows in their new order (N,), and whether an episode ends there (N,).
    """
    successor = _successors(state + 0.0, next_state + 0.0, episode_end)  # -0.0 equals 0.0
    has_predecessor = np.zeros(len(state), dtype=bool)
    has_predecessor[successor[successor >= 0]] = True
    order: list[int] = []
    ends = []
    visited = np.zeros(len(state), dtype=bool)
    # closed loops, in which each row has a predecessor, come last
    for head in [*np.flatnonzero(~has_predecessor), *np.flatnonzero(has_predecessor)]:
        row = int(head)
        if visited[row]:
            continue
        while row >= 0 and not visited[row]:
            visited[row] = True
            order.append(row)
            row = int(successor[row])
        ends.append(len(order) - 1)
    final = np.zeros(len(state), dtype=bool)
    final[ends] = True
    return np.array(order, dtype=int), final


def _successors(state: np.ndarray, following: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the index (N,) of the successor of each row; -1 without one."""
    successor = np.full(len(state), -1)
    adjacent = np.flatnonzero(~last[:-1] & (following[:-1] == state[1:]).all(1))
    successor[adjacent] = adjacent + 1
    rows_by_state: dict[bytes, list[int]] = defaultdict(list)
    for row, values in enumerate(state):
        rows_by_state[values.tobytes()].append(row)
    taken = set(successor[adjacent].tolist())
    for row in np.flatnonzero((successor < 0) & ~last).tolist():
        candidates = [k for k in rows_by_state.get(following[row].tobytes(), []) if k != row]
        if len(candidates) == 1 and candidates[0] not in taken:
            successor[row] = candidates[0]
            taken.add(candidates[0])
    return successor

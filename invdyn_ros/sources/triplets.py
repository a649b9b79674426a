"""States and the actions between them enter; a trajectory leaves.

An action is held from its state to the next one, so over that interval

    qdd = (qd' - qd) / dt

is the acceleration it makes: exactly so in a simulator that steps the velocity with it. The last
state repeats the action and the acceleration of the interval that ends there.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from invdyn_ros.data.trajectory import Trajectory


def transitions_to_trajectory(
    time: np.ndarray, state: np.ndarray, action: np.ndarray, names: tuple[str, ...], unit: str
) -> Trajectory:
    """Return the trajectory of K transitions (s, a, s'); K = 1 is a triplet.

    Args:
        time: (K + 1,) [s].
        state: (K + 1, 2n) positions and velocities.
        action: (K, n) each held from its state to the next one.
        names: the n joints.
        unit: of the actions.
    """
    n = len(names)
    slope = np.diff(state[:, n:], axis=0) / np.diff(time)[:, None]
    acceleration, held = (np.concatenate([x, x[-1:]]) for x in (slope, action))
    return Trajectory(time, state[:, :n], state[:, n:], acceleration, held, names, unit)


def chain_transitions(
    state: np.ndarray, next_state: np.ndarray, episode_end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put transitions that follow each other in a row, in whatever order they stand.

    Neighbours in time are almost equal, so triplets of one motion must not part as if they were
    independent. A transition is followed by the next row if that begins where it ends, else by
    the only other row that does.

    Args:
        state: (N, d) before each transition.
        following: (N, d) after it.
        last: (N,) whether an episode is known to end there.

    Returns:
        The rows in their new order (N,), and whether an episode ends with each (N,).
    """
    successor = _successors(state + 0.0, next_state + 0.0, episode_end)  # -0.0 equals 0.0
    led_to = np.zeros(len(state), dtype=bool)
    led_to[successor[successor >= 0]] = True
    order: list[int] = []
    ends = []
    visited = np.zeros(len(state), dtype=bool)
    for head in [*np.flatnonzero(~led_to), *np.flatnonzero(led_to)]:  # at last, motions in circles
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
    """Return the row that comes after each, -1 without one (N,)."""
    successor = np.full(len(state), -1)
    near = np.flatnonzero(~last[:-1] & (following[:-1] == state[1:]).all(1))
    successor[near] = near + 1
    begins: dict[bytes, list[int]] = defaultdict(list)
    for row, values in enumerate(state):
        begins[values.tobytes()].append(row)
    taken = set(successor[near].tolist())
    for row in np.flatnonzero((successor < 0) & ~last):
        others = [k for k in begins.get(following[row].tobytes(), []) if k != row]
        if len(others) == 1 and others[0] not in taken:
            successor[row] = others[0]
            taken.add(others[0])
    return successor

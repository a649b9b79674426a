"""Check of a whole motion for clearance, without gaps between the configurations computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.control.motion_samples import MotionSamples
from invdyn_ros.robots.collision import CollisionModel, NearShapes
from invdyn_ros.typing import Array, Indices, Mask

NUM_ANCHORS = 24  # configurations of earlier checks that are kept
NUM_REFINEMENTS = 3  # halvings of a step that no anchor covers as a whole
GROUP = 4  # steps that are looked up together first
FIRST_REACH = 2  # steps that an anchor is expected to cover before and after it
NUM_NEAR = 24  # nearest pairs of shapes of a configuration that count each for itself
FAR_AWAY = 1e9  # [rad]


class Lookup(NamedTuple):
    """What is known of a motion.

    Attributes:
        start: whether its start has the slack.
        end: whether its end has the margins.
        steps: indices of the steps of which it is not known that they have the margins.
    """

    start: bool
    end: bool
    steps: Indices


class ClearanceCheck:
    """Checks motions by conservative advancement.

    No point of a body moves further, relative to another body, than the sum over the joints of
    radius times angle (`CollisionModel.radii`). A configuration with known clearances therefore
    certifies all configurations around it up to that distance. Such configurations, the anchors,
    are added until every step of a motion lies around one. Anchors of earlier motions are kept,
    so a motion that resembles the last one costs little.

    The clearances to keep (P + 1,) are those of the pairs, then the largest one.

    Attributes:
        nearest: names of what was closest where the last check failed; empty if out of range.
    """

    def __init__(self, collision: CollisionModel) -> None:
        """Create a check without anchors."""
        self.collision = collision
        far, n = collision.largest_radii.T, collision.robot.n  # (n, F)
        self._q = np.full((NUM_ANCHORS, n), FAR_AWAY)
        # pairs of shapes near the anchor, then the bounds of all others
        self._num_pairs, columns = len(collision.pairs), NUM_NEAR + far.shape[1]
        self._radii = np.zeros((NUM_ANCHORS, n, columns))
        self._radii[:, :, NUM_NEAR:] = far
        self._pair = np.zeros((NUM_ANCHORS, columns), int)
        self._pair[:, NUM_NEAR:] = self._num_pairs  # stands for the pair of the largest clearance
        self._clearance = np.zeros((NUM_ANCHORS, columns))
        self._next, self._budget = 0, 0
        self.nearest = ("", "")

    def set_budget(self, configurations: int) -> None:
        """Set the number of configurations that the next checks may compute, all together."""
        self._budget = configurations

    def clearances(self, q: Array) -> Array:
        """Return the clearance of each pair at q (n,) [rad], (P,) [m], and keep it."""
        near = self._add(q)
        result = np.full(self._num_pairs, self.collision.range)
        np.minimum.at(result, near.pair, near.clearance)
        return result

    def look_up(self, samples: MotionSamples, slack: Array) -> Lookup:
        """Return what the anchors of earlier checks show of a motion that keeps its margins.

        Args:
            samples: samples of the motion.
            slack: (P + 1,) clearances at the start [m].
        """
        lower, upper = samples.bounds()
        first, ends = np.arange(0, len(lower), GROUP), samples.q[[0, -1]]
        lower_boxes = np.concatenate([np.minimum.reduceat(lower, first), ends])
        upper_boxes = np.concatenate([np.maximum.reduceat(upper, first), ends])
        moved = self._moved(lower_boxes, upper_boxes)
        is_near = moved < self._clearance[:, None]
        is_near[:, -2] = moved[:, -2] < self._clearance - slack[self._pair]
        *groups, start, end = _around_an_anchor(is_near).tolist()
        steps = (~np.repeat(groups, GROUP)[: len(lower)]).nonzero()[0]
        return Lookup(start, end, steps)

    def end_is_clear(self, q: Array, required: Array) -> bool:
        """Return whether q (n,) [rad], where a motion ends, has its clearances [m]."""
        return self._covered(q[None], q[None], required)[0] or self._spare(q, required) is not None

    def steps_are_clear(self, samples: MotionSamples, steps: Indices, required: Array) -> bool:
        """Return whether some steps of a motion keep its clearances; false if the budget runs out.

        Args:
            samples: samples of the motion.
            steps: indices of the steps.
            required: (P + 1,) clearances on the way [m].
        """
        return self._steps_are_clear(samples, steps, required, NUM_REFINEMENTS)

    def _steps_are_clear(
        self, samples: MotionSamples, steps: Indices, required: Array, refinements: int
    ) -> bool:
        """Return whether some steps of a motion keep its clearances.

        Args:
            samples: samples of the motion.
            steps: indices of the steps.
            required: (P + 1,) clearances on the way [m].
            refinements: how often a step may be halved.
        """
        if not steps.size:
            return True
        lower, upper = (bound[steps] for bound in samples.bounds())
        left = self._cover(lower, upper, samples.centres()[steps], required)
        if left and not refinements:
            self.nearest = self.collision.clearance(samples.q[steps[left[0]]]).pair
        if left is None or (left and not refinements):
            return False
        halves = np.arange(2)
        return all(
            self._steps_are_clear(samples.halved(steps[k]), halves, required, refinements - 1)
            for k in left
        )

    def _cover(
        self, lower: Array, upper: Array, centres: Array, required: Array
    ) -> list[int] | None:
        """Add anchors at the centres of boxes that no anchor covers; return those still not.

        The boxes follow each other along a motion. An anchor is placed as far after the first box
        left as the last one reached.

        Args:
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            centres: (K, n) a position in each box [rad].
            required: (P + 1,) clearances to keep [m].

        Returns:
            None if a centre has not the clearance required, or the budget ran out.
        """
        remaining = (~self._covered(lower, upper, required)).nonzero()[0]
        left: list[int] = []
        reach = FIRST_REACH
        while remaining.size:
            k = min(reach, remaining.size - 1)
            centre = centres[remaining[k]]
            if self._budget <= 0:
                self.nearest = self.collision.clearance(centre).pair
                return None
            anchor = self._next
            spare = self._spare(centre, required)
            if spare is None:
                return None
            turn = np.maximum(centre - lower[remaining], upper[remaining] - centre)
            is_near = turn.dot(self._radii[anchor]) < spare
            done = np.logical_and.reduce(is_near, axis=1)
            reach = np.count_nonzero(done[k + 1 :] if done[0] else done[:k])
            if not done[k]:
                left.append(int(remaining[k]))
                done[k] = True
            remaining = remaining[~done]
        return left

    def _spare(self, q: Array, required: Array) -> Array | None:
        """Add an anchor; return its clearances (C,) beyond those required, None if it has not.

        Args:
            q: (n,) configuration [rad].
            required: (P + 1,) clearances to keep, at most zero [m].
        """
        anchor = self._next
        near = self._add(q)
        spare = self._clearance[anchor]
        if np.count_nonzero(required):
            spare = spare - required[self._pair[anchor]]
        if spare.min() < 0:
            worst = int((near.clearance - required[near.pair]).argmin())
            self.nearest = self.collision.link_names(int(near.shapes[worst]))
            return None
        return spare

    def _add(self, q: Array) -> NearShapes:
        """Add an anchor at q (n,) [rad] in place of the oldest."""
        self._budget -= 1
        near = self.collision.near_shapes(q)
        _, pair, clearance, radii = near
        reach = self.collision.range
        if clearance.size > NUM_NEAR:
            nearest = clearance.argsort()
            reach = clearance[nearest[NUM_NEAR]]
            nearest = nearest[:NUM_NEAR]
            pair, clearance, radii = pair[nearest], clearance[nearest], radii[nearest]
        i, k = self._next, clearance.size
        self._next = (i + 1) % NUM_ANCHORS
        self._q[i], self._radii[i, :, :k], self._pair[i, :k] = q, radii.T, pair
        row = self._clearance[i]
        row[:k], row[k:NUM_NEAR], row[NUM_NEAR:] = clearance, FAR_AWAY, reach
        return near

    def _covered(self, lower: Array, upper: Array, required: Array) -> Mask:
        """Return which boxes of configurations (K,) lie around an anchor.

        Args:
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            required: (P + 1,) clearances to keep [m].
        """
        spare = self._clearance
        if np.count_nonzero(required):
            spare = spare - required[self._pair]
        return _around_an_anchor(self._moved(lower, upper) < spare[:, None])

    def _moved(self, lower: Array, upper: Array) -> Array:
        """Return by how much boxes of configurations (K, n) change clearances (A, K, C) [m]."""
        q = self._q[:, None]
        return np.matmul(np.maximum(q - lower, upper - q), self._radii)


def _around_an_anchor(is_near: Mask) -> Mask:
    """Return which boxes (K,) are near enough to an anchor, for all its clearances (A, K, C)."""
    return np.asarray(np.logical_or.reduce(np.logical_and.reduce(is_near, axis=2), axis=0))

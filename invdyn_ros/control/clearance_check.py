"""Check of a whole motion for clearance, without gaps between the configurations computed."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.motion_samples import MotionSamples
from invdyn_ros.robots.collision import CollisionModel, NearShapes
from invdyn_ros.typing import Array, Indices, Mask

NUM_ANCHORS = 24  # configurations of earlier checks that are kept
NUM_REFINEMENTS = 3  # halvings of a step that no anchor covers as a whole
GROUP = 4  # steps that are tried to be covered together first
NUM_NEAR = 12  # nearest pairs of shapes of a configuration that count each for itself
FAR_AWAY = 1e9  # [rad]


class ClearanceCheck:
    """Checks motions by conservative advancement.

    No point of a body moves further, relative to another body, than the sum over the joints of
    radius times angle (`CollisionModel.radii`). A configuration with known clearances therefore
    certifies all configurations around it up to that distance. Such configurations, the anchors,
    are added until every step of a motion lies around one. Anchors of earlier motions are kept,
    so a motion that resembles the last one costs little.

    The clearances to keep (P + 1,) are those of the pairs, then the largest of them or zero.

    Attributes:
        nearest: names of the two bodies that came too close where the last check failed, of the
            nearest ones if the budget ran out; empty if out of range.
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
        self._around_start = self._around_end = 0  # anchors around the last ones
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

    def start_is_clear(self, q: Array, required: Array) -> bool:
        """Return whether anchors alone show that q (n,) [rad], where a motion starts, is clear.

        Args:
            q: (n,) configuration [rad].
            required: (P + 1,) clearances to keep [m].
        """
        anchor = self._anchor_around(q, required, self._around_start)
        self._around_start = self._around_start if anchor is None else anchor
        return anchor is not None

    def end_is_clear(self, q: Array, required: Array) -> bool:
        """Return whether q (n,) [rad], where a motion ends, has its clearances (P + 1,) [m]."""
        anchor = self._anchor_around(q, required, self._around_end)
        self._around_end = self._next if anchor is None else anchor
        return anchor is not None or not self._violates(q, required)

    def is_clear_throughout(self, samples: MotionSamples, required: Array) -> bool:
        """Return whether a motion keeps its clearances; false also if the budget runs out.

        Args:
            samples: samples of the motion.
            required: (P + 1,) clearances on the way [m].
        """
        lower, upper = samples.bounds
        first = np.arange(0, len(lower), GROUP)
        groups = np.minimum.reduceat(lower, first), np.maximum.reduceat(upper, first)
        centres = samples.q[np.minimum(first + GROUP // 2, len(lower))]
        left = self._cover(*groups, centres, required)
        if left is None:
            return False
        steps = [step for k in left for step in range(first[k], min(first[k] + GROUP, len(lower)))]
        return self._steps_are_clear(samples, np.array(steps, int), required, NUM_REFINEMENTS)

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
        lower, upper = samples.bounds
        left = self._cover(lower[steps], upper[steps], samples.centres()[steps], required)
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

        Args:
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            centres: (K, n) a position in each box [rad].
            required: (P + 1,) clearances to keep [m].

        Returns:
            None if a centre has not the clearance required, or the budget ran out.
        """
        remaining, left = (~self._covered(lower, upper, required)).nonzero()[0], []
        while remaining.size:
            middle = remaining.size // 2
            newest = self._next
            centre = centres[remaining[middle]]
            if self._budget <= 0:
                self.nearest = self.collision.clearance(centre).pair
                return None
            if self._violates(centre, required):
                return None
            done = self._covered_by(newest, lower[remaining], upper[remaining], required)
            if not done[middle]:
                left.append(int(remaining[middle]))
                done[middle] = True
            remaining = remaining[~done]
        return left

    def _violates(self, q: Array, required: Array) -> bool:
        """Return whether a configuration has less clearance than required; note the pair.

        Args:
            q: (n,) configuration [rad], which becomes an anchor.
            required: (P + 1,) clearances to keep, less than the range of the distances [m].
        """
        near = self._add(q)
        spare = near.clearance - required.take(near.pair)
        if not np.count_nonzero(spare < 0):
            return False
        self.nearest = self.collision.link_names(int(near.shapes[spare.argmin()]))
        return True

    def _add(self, q: Array) -> NearShapes:
        """Add an anchor at q (n,) [rad] in place of the oldest."""
        self._budget -= 1
        near = self.collision.near_shapes(q)
        shapes, pair, clearance = near
        reach = self.collision.range
        if clearance.size > NUM_NEAR:
            order = clearance.argsort()
            reach = clearance[order[NUM_NEAR]]
            order = order[:NUM_NEAR]
            shapes, pair, clearance = shapes.take(order), pair.take(order), clearance.take(order)
        i, k = self._next, clearance.size
        self._next = (i + 1) % NUM_ANCHORS
        self._q[i], self._pair[i, :k] = q, pair
        radii_of_anchor, clearance_of_anchor = self._radii[i], self._clearance[i]
        radii_of_anchor[:, :k] = self.collision.radii(shapes).T
        clearance_of_anchor[:k], clearance_of_anchor[NUM_NEAR:] = clearance, reach
        if k < NUM_NEAR:
            radii_of_anchor[:, k:NUM_NEAR], clearance_of_anchor[k:NUM_NEAR] = 0.0, FAR_AWAY
        return near

    def _anchor_around(self, q: Array, required: Array, guess: int) -> int | None:
        """Return an anchor that shows that q has its clearances, None if there is none.

        Args:
            q: (n,) configuration [rad].
            required: (P + 1,) clearances to keep [m].
            guess: the anchor to try first.
        """
        q = q[None]
        if self._covered_by(guess, q, q, required)[0]:
            return guess
        around = self._around(q, q, required)[:, 0]
        return int(around.argmax()) if np.count_nonzero(around) else None

    def _covered(self, lower: Array, upper: Array, required: Array) -> Mask:
        """Return which boxes of configurations (K,) lie around an anchor.

        Args:
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            required: (P + 1,) clearances to keep [m].
        """
        return np.asarray(np.logical_or.reduce(self._around(lower, upper, required), axis=0))

    def _around(self, lower: Array, upper: Array, required: Array) -> Mask:
        """Return which boxes of configurations lie around which anchor, (A, K).

        Args:
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            required: (P + 1,) clearances to keep [m].
        """
        q, spare = self._q[:, None], self._clearance
        if np.count_nonzero(required):
            spare = spare - required[self._pair]
        turn = np.maximum(q - lower, upper - q)  # (A, K, n)
        is_near = np.matmul(turn, self._radii) < spare[:, None]
        return np.asarray(np.logical_and.reduce(is_near, axis=2))

    def _covered_by(self, anchor: int, lower: Array, upper: Array, required: Array) -> Mask:
        """Return which boxes of configurations (K,) lie around an anchor.

        Args:
            anchor: index of the anchor.
            lower: (K, n) smallest position of each box [rad].
            upper: (K, n) largest position of each box [rad].
            required: (P + 1,) clearances to keep [m].
        """
        q, spare = self._q[anchor], self._clearance[anchor]
        if np.count_nonzero(required):
            spare = spare - required[self._pair[anchor]]
        is_near = np.maximum(q - lower, upper - q).dot(self._radii[anchor]) < spare
        return np.logical_and.reduce(is_near, axis=1)

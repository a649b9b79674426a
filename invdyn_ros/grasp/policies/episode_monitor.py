"""Result of an episode as the camera saw it, by the criteria of simulated episodes."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import ImageDetections
from invdyn_ros.grasp.policies.grasp_command import DONE, GraspCommand
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, SuccessDetector
from invdyn_ros.grasp.policies.task_success import TaskSuccess
from invdyn_ros.grasp.policies.tasks import GRASP, STACK, plan_placements
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

JUDGING_TIME = 1.0  # [s] after the policy is done, in which the camera looks at the result
VELOCITY_WINDOW = 0.2  # [s] over which the velocity of the arm is measured
PLACED = "placed"
NOT_MOVED = "the block lies at its goal; move it to another place"


class EpisodeOutcome(NamedTuple):
    """How an episode ended.

    Attributes:
        success: whether every block was placed and released at its goal.
        reason: `PLACED`, or why not.
        distance: from the goal to the block that is farthest from its own [m]; NaN if one was not
            seen.
    """

    success: bool
    reason: str
    distance: float


class EpisodeMonitor:
    """Notices when a policy is done, and judges what it did by the last images.

    Attributes:
        hold_reason: why the policy does not get the images yet; None if it does.
    """

    def __init__(self, scene: Scene, task: str) -> None:
        """Watch a task in its nominal scene."""
        self.scene, self.task = scene, task
        self.placements = plan_placements(scene, task)
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.hold_reason: str | None = None
        self._initial: dict[int, Array] = {}  # (3,) first detection of each block [m]
        self._final: dict[int, Array] = {}  # (3,) last one, since the policy is done [m]
        self._done_since: float | None = None  # [s]
        self._joints: deque[tuple[float, Array]] = deque()

    def starts(self, image: ImageDetections) -> bool:
        """Return whether a policy may act on an image; not before somebody has moved the blocks.

        Blocks that lie at their goals are those of the last episode.
        """
        if not self._initial and self._at_goals(image):
            self.hold_reason = NOT_MOVED
            return False
        self.hold_reason = None
        return True

    def on_image(self, image: ImageDetections) -> None:
        """Note where the blocks are."""
        for detection in image.detections:
            self._initial.setdefault(detection.block, detection.position)
            if self._done_since is not None and image.time >= self._done_since:
                self._final[detection.block] = detection.position

    def update(
        self, time: float, q: Array, opening: float, command: GraspCommand
    ) -> EpisodeOutcome | None:
        """Return the result once the policy has been done for `JUDGING_TIME`.

        Args:
            time: present time [s].
            q: (n,) measured positions [rad].
            opening: measured distance between the finger pads [m].
            command: output of the policy.
        """
        if command.phase != DONE:
            self._done_since = None
            self._final.clear()
            self._joints.clear()
            return None
        if self._done_since is None:
            self._done_since = time
        self._joints.append((time, q))
        while len(self._joints) > 2 and time - self._joints[1][0] >= VELOCITY_WINDOW:
            self._joints.popleft()
        if time - self._done_since < JUDGING_TIME:
            return None
        return self._judge(opening, command.hold_reason)

    def _at_goals(self, image: ImageDetections) -> bool:
        """Return whether all blocks are at their goals; the top of a stack may hide the others."""
        visible = {detection.block: detection.position for detection in image.detections}
        distances = [
            float(np.linalg.norm(visible[block] - goal))
            for block, goal in self.placements
            if block in visible
        ]
        top, _ = self.placements[-1]
        complete = top in visible if self.task == STACK else len(distances) == len(self.placements)
        return complete and max(distances) <= GOAL_TOLERANCE

    def _judge(self, opening: float, hold_reason: str | None) -> EpisodeOutcome:
        positions = self._positions()
        offsets = [positions[block] - goal for block, goal in self.placements]
        distance = float(np.max(np.linalg.norm(offsets, axis=1)))
        (first, q_first), (last, q_last) = self._joints[0], self._joints[-1]
        qd = (q_last - q_first) / max(last - first, 1e-9)
        if self.task == GRASP:
            target = self.placements[0].block
            detector: SuccessDetector | TaskSuccess = SuccessDetector.from_scene(
                self.scene, self._initial.get(target, positions[target])
            )
            detector.update(positions[target], qd, opening)
        else:
            detector = TaskSuccess(self.scene, self.placements)
            detector.update(positions, qd, opening)
        if detector.success:
            return EpisodeOutcome(True, PLACED, distance)
        reason = hold_reason or self._failure(distance, opening, detector.open_width)
        return EpisodeOutcome(False, reason, distance)

    def _positions(self) -> Array:
        """Return the last position of each block (k, 3) [m], NaN if it is not visible.

        A block of a stack may hide those below, which then are where they belong.
        """
        positions = np.full((max(self.scene.num_blocks, 1), 3), np.nan)
        for block, position in self._final.items():
            positions[block] = position
        if self.task == STACK:
            visible = [k for k, (block, _) in enumerate(self.placements) if block in self._final]
            for block, goal in self.placements[: max(visible, default=0)]:
                if block not in self._final:
                    positions[block] = goal
        return positions

    @staticmethod
    def _failure(distance: float, opening: float, open_width: float) -> str:
        """Return in words why a task is not done."""
        if np.isnan(distance):
            return "the block is not visible at its goal"
        if distance > GOAL_TOLERANCE:
            return f"the block lies {1e3 * distance:.0f} mm from its goal"
        if opening <= open_width:
            return "the gripper is not open"
        return "the arm is not at rest, or the block lay at its goal from the start"

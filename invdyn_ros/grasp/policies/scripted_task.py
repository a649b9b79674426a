"""Scripted task with several blocks: one scripted grasp after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import BlockEstimate, ImageDetections
from invdyn_ros.grasp.policies.grasp_command import DONE, GraspCommand
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.grasp.policies.scripted_config import ScriptedGraspConfig
from invdyn_ros.grasp.policies.tasks import STACK, Placement, plan_placements
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

if TYPE_CHECKING:  # imports torch
    from invdyn_ros.grasp.policies.learned import LearnedGrasp

LOOKING = "looking for the blocks"
DONE_DISTANCE = 0.018  # [m] to the goal; below GOAL_TOLERANCE, for errors of the camera
LEVEL_TOLERANCE = 0.5  # [block sides] in height
RECENT = 0.6  # [s] age of a detection that says where a block lies now
PATIENCE = 1.0  # [s] for which a block that is not visible is waited for before the next one
MAX_FAILURES = 2  # times that a script gave up on a block
MAX_STARTS = 6  # grasps of one block
MIN_COUNT = 3  # detections of a block before it is grasped
SPOT_STEP = 0.02  # [m] between places where a block may be put aside
OVERLAP = 1.2  # [block sides] nearer blocks do not both fit


class ScriptedTask:
    """Place one block after the other, until all are where they belong.

    What to do next follows from where the blocks lie, whenever the arm is at home: a block that
    somebody moves is placed again, and one that is in the way is put aside.

    Attributes:
        placements: goal of each block, in order.
        script: grasp of the present block.
        current: index of the present block; None while the arm waits or all is done.
        is_over: whether every block is placed, or was given up.
    """

    def __init__(
        self, robot: Robot, scene: Scene, task: str, config: ScriptedGraspConfig | None = None
    ) -> None:
        """Create the policy.

        Args:
            robot: an arm with a gripper.
            scene: nominal scene with the blocks.
            task: one of `tasks.TASKS`.
            config: settings of each grasp; None: those of the arm.

        Raises:
            ValueError: the scene does not have the blocks or the goals of the task.
        """
        self.scene, self.task = scene, task
        self.placements = plan_placements(scene, task)
        self.names = [block.name for block in scene.all_blocks]
        self.script = ScriptedGrasp(robot, scene, config)
        self.estimates = [BlockEstimate() for _ in self.names]
        self.reset()

    def reset(self) -> None:
        """Start an episode at the home position with an open gripper."""
        self.script.reset()
        for estimate in self.estimates:
            estimate.clear()
        self.current: int | None = None
        self.is_over = False
        self.failures, self.starts = [0] * len(self.names), [0] * len(self.names)
        self.levels = [0] * len(self.names)
        self.rejections: dict[int, str] = {}
        self.time = self.idle_since = 0.0
        self.hold_reason: str | None = LOOKING

    def on_image(self, image: ImageDetections) -> None:
        """Process what was detected in an image."""
        self.rejections = dict(image.rejections)
        present = None
        for detection in image.detections:
            if detection.block == self.current:
                present = detection
            if detection.block != self.current or self._is_idle:
                self.estimates[detection.block].update(detection)
                self.levels[detection.block] = detection.level
        if present is not None:
            self.script.on_detection(present)
        elif self.current is not None and self.current in image.rejections:
            self.script.on_invalid_image(image.time, image.rejections[self.current])
        else:
            self.script.on_no_detection(image.time)

    def update_joints(self, q: Array, qd: Array) -> None:
        """Wait for an arm that does not follow; see `ScriptedGrasp.update_joints`."""
        self.script.update_joints(q, qd)

    def command(self, time: float, opening: float, control_period: float) -> GraspCommand:
        """Return the desired state one control period from now.

        Args:
            time: present time [s].
            opening: measured distance between the finger pads [m].
            control_period: control period of the arm [s].
        """
        self.time = time
        if self.current is not None and self._is_idle:
            self._finish(self.current)
        if self.current is None:
            self._choose_next()
        command = self.script.command(time, opening, control_period)
        if self.current is None:
            phase = DONE if self.is_over else "wait"
            return command._replace(phase=phase, hold_reason=self.hold_reason)
        reason = command.hold_reason
        named = None if reason is None else f"block '{self.names[self.current]}': {reason}"
        return command._replace(hold_reason=named)

    @property
    def _is_idle(self) -> bool:
        """Whether the arm is at home, after a grasp or before the first one."""
        return self.current is None or self.script.phase in ("check", DONE)

    def _finish(self, block: int) -> None:
        """End the grasp of a block; all blocks are looked at again."""
        self.failures[block] += self.script.gave_up
        self.script.phase = DONE
        self.current, self.idle_since = None, self.time
        for estimate in self.estimates:
            estimate.clear()

    def _choose_next(self) -> None:
        """Start the next grasp, or say why there is none."""
        waits: list[str] = []
        missing = self.is_over = False
        placed = [k for k, placement in enumerate(self.placements) if self._is_placed(*placement)]
        highest = max(placed, default=-1) if self.task == STACK else -1
        for k, (block, goal) in enumerate(self.placements):
            where = self._position(block)
            name = f"block '{self.names[block]}'"
            if where is None and k < highest:
                continue  # a block of a stack may hide those below
            if where is None:
                missing = True
                waits.append(self._missing_reason(block))
                if self.task == STACK or self.time - self.idle_since < PATIENCE:
                    break
                continue
            if self._is_placed(block, goal):
                continue
            if self.failures[block] >= MAX_FAILURES or self.starts[block] >= MAX_STARTS:
                waits.append(f"gave up on {name} after {self.starts[block]} grasps; place it")
                if self.task == STACK:
                    break
                continue
            obstacle = self._obstacle(block, goal, self.placements[:k])
            if obstacle is None:
                self._start(block, *self._supported(k, goal))
            else:
                self._put_aside(obstacle)
            return
        self.is_over = not missing
        self.hold_reason = waits[0] if waits else None

    def _start(self, block: int, goal: Array, yaw: float | None = None) -> None:
        others = [self._position(b) for b in range(len(self.names)) if b != block]
        near = [position[:2] for position in others if position is not None]
        self.current = block
        self.starts[block] += 1
        neighbours = np.array(near).reshape(-1, 2)
        self.script.assign(goal, neighbours, self.script.motion_time, yaw)
        self.estimates[block].clear()

    def _position(self, block: int) -> Array | None:
        """Return where a block lies now (3,) [m]; None if it was not seen recently."""
        estimate = self.estimates[block]
        recent = estimate.count >= MIN_COUNT and self.time - estimate.time < RECENT
        return estimate.position if recent else None

    def _is_placed(self, block: int, goal: Array) -> bool:
        where = self._position(block)
        if where is None:
            return False
        across = float(np.linalg.norm((where - goal)[:2]))
        level = abs(where[2] - goal[2]) < LEVEL_TOLERANCE * self.scene.block_size
        return across < DONE_DISTANCE and level

    def _supported(self, k: int, goal: Array) -> tuple[Array, float | None]:
        """Return a goal of a stack over the block below it, as the camera sees it, and its yaw."""
        if k == 0 or self.task != STACK:
            return goal, None
        below = self.placements[k - 1].block
        where = self._position(below)
        if where is None:
            return goal, None
        return np.array([*where[:2], goal[2]]), self.estimates[below].yaw

    def _obstacle(self, block: int, goal: Array, finished: tuple[Placement, ...]) -> int | None:
        """Return a block on top of a block, or where it belongs; None if there is none."""
        own, size = self._position(block), self.scene.block_size
        kept = {placement.block for placement in finished} | {block}
        for other in range(len(self.names)):
            where = self._position(other)
            if where is None or other == block:
                continue
            on_top = (
                own is not None
                and np.linalg.norm((where - own)[:2]) < size
                and where[2] > own[2] + size / 2
            )
            at_goal = other not in kept and np.linalg.norm((where - goal)[:2]) < OVERLAP * size
            if on_top or at_goal:
                return other
        return None

    def _put_aside(self, block: int) -> None:
        """Take a block that is in the way to the free place in the area farthest from others."""
        scene = self.scene
        x, y = (np.arange(low, high, SPOT_STEP) for low, high in (scene.area_x, scene.area_y))
        spots = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        taken = [goal[:2] for _, goal in self.placements]
        taken += [p[:2] for b in range(len(self.names)) if (p := self._position(b)) is not None]
        room = np.linalg.norm(spots[:, None] - np.array(taken), axis=2).min(axis=1)
        self._start(block, np.array([*spots[int(np.argmax(room))], scene.block_size / 2]))

    def _missing_reason(self, block: int) -> str:
        name = f"block '{self.names[block]}'"
        if block in self.rejections:
            return f"{name}: {self.rejections[block]}"
        if self.time - self.idle_since < PATIENCE:
            return LOOKING
        markers = self.scene.markers[block]
        return f"{name} with markers {markers} is not visible; put it into the area"


def pass_image(
    policy: ScriptedGrasp | LearnedGrasp | ScriptedTask, image: ImageDetections, target: int
) -> None:
    """Pass what was detected in an image to a policy.

    Args:
        policy: the policy.
        image: the detections.
        target: the block of a policy for one block.
    """
    if isinstance(policy, ScriptedTask):
        policy.on_image(image)
        return
    for detection in image.detections:
        if detection.block == target:
            policy.on_detection(detection)
            return
    if target in image.rejections:
        policy.on_invalid_image(image.time, image.rejections[target])
    else:
        policy.on_no_detection(image.time)

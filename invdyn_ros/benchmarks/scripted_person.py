"""A scripted person who looks at tool and block, and moves the hand to grasp by teleoperation.

The hand moves in submovements, as in the model of Meyer et al. (1988): towards where the tool
should be, with an error that grows with the distance, and again after having looked at the result.
What the person sees is old by the reaction time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.benchmarks.scripted_hand import scripted_hand
from invdyn_ros.config import Validated
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

ARM_LENGTH = 0.55  # [m] of the person
REACH = 0.97 * ARM_LENGTH  # an arm is never quite straight
GRIP_TIME = 0.15  # [s] to close or open the hand
FITTS_OFFSET, FITTS_SLOPE = 0.25, 0.12
"""Duration of a submovement [s]: offset + slope * log2(distance / tolerance + 1), Fitts' law."""
DROP_HEIGHT = 0.004  # [m] above the table from which the block is released, not pressed on it
CARE = 2.0  # factor of the duration near the block and near the table
MAX_CLOSING_TIME = 1.5  # [s] for which the person waits for the gripper
CLEARANCES = 0.08, 0.045  # [m] above the block before the descent, of a large and a small arm


@dataclass(frozen=True)
class ScriptedPersonConfig(Validated):
    """Abilities of a scripted person."""

    reaction_time: NonNegativeFloat = 0.25
    """Age of what the person acts on [s]: display, eye and nerves."""
    settling_time: NonNegativeFloat = 0.35
    """Time after a submovement until the person judges where the tool is [s]."""
    aim_error: NonNegativeFloat = 0.06
    """Standard deviation of the end of a submovement, as a fraction of its length."""
    sight_error: NonNegativeFloat = 0.002
    """Standard deviation of a position that the person judges [m]."""
    tremor: NonNegativeFloat = 0.001
    """Standard deviation of a hand that is kept still [m]."""
    tolerance: PositiveFloat = 0.008
    """Distance of the tool from its place with which the person is content [m]."""
    engage_time: PositiveFloat = 3.0
    """Time after which the person engages an arm again that has stopped [s]."""


class View(NamedTuple):
    """What there is to see at a time [s]: tool and block (3,) [m], opening of the gripper [m]."""

    time: float
    tool: Array
    block: Array
    opening: float


class Phase(NamedTuple):
    """Part of the task: where the tool should be and what the hand does."""

    name: str
    grips: bool


PHASES = (
    Phase("reach", False),
    Phase("descend", False),
    Phase("close", True),
    Phase("lift", True),
    Phase("carry", True),
    Phase("lower", True),
    Phase("open", False),
    Phase("retreat", False),
)


class ScriptedPerson:
    """Hand of a person who grasps the block and puts it at its goal.

    Attributes:
        hand: (3,) position of the hand from the shoulder, forward, left and up [m].
        phase: what the person does.
        is_done: whether the person has released the block and is content.
    """

    def __init__(
        self,
        scene: Scene,
        scale: float,
        hand: Array,
        config: ScriptedPersonConfig,
        rng: np.random.Generator,
    ) -> None:
        """Create a person at rest.

        Args:
            scene: size of the block and its goal.
            scale: motion of the tool over that of the hand, to which the person is used.
            hand: (3,) position of the hand [m].
            config: abilities of the person.
            rng: source of the errors.
        """
        self.scene, self.scale, self.config, self.rng = scene, scale, config, rng
        self.hand = np.array(hand)
        self._clearance = CLEARANCES[scene.block_size < 0.035]
        self._views: deque[View] = deque()
        self._index, self._phase_start = 0, 0.0
        self._from = self._to = self.hand.copy()
        self._start, self._end = 0.0, 0.0  # [s] of the submovement
        self._grip = 0.0  # 0 open, 1 closed
        self._grasp_height = scene.block_size / 2
        self.is_done = False

    @property
    def phase(self) -> Phase:
        """Present part of the task."""
        return PHASES[self._index]

    def look(self, view: View) -> None:
        """Show the person tool and block; call it before each `move`."""
        self._views.append(view)
        while len(self._views) > 1 and self._is_past(self._views[1], view.time):
            self._views.popleft()

    def _is_past(self, view: View, now: float) -> bool:
        return view.time <= now - self.config.reaction_time + 1e-9

    def move(self, time: float, dt: float) -> tuple[Array, Array]:
        """Return hand (3,) [m] and its landmarks (21, 3) [m], `dt` [s] after the last call."""
        if time >= self._end + self.config.settling_time:
            self._decide(time)
        progress = (time - self._start) / max(self._end - self._start, 1e-6)
        s = min(max(progress, 0.0), 1.0)
        self.hand = self._from + (self._to - self._from) * s**3 * (10 - 15 * s + 6 * s**2)
        goal = float(self.phase.grips)
        self._grip += float(np.clip(goal - self._grip, -dt / GRIP_TIME, dt / GRIP_TIME))
        shaking = self.config.tremor * self.rng.standard_normal(3)
        return self.hand + shaking, scripted_hand(fist=self._grip)

    def _decide(self, time: float) -> None:
        """Go on to the next part of the task, or correct the position of the tool."""
        view = self._views[0]
        name = self.phase.name
        if name in ("close", "open"):
            self._wait_for_gripper(view, time)
            return
        if name in ("lift", "carry", "lower") and not self._is_held(view):
            self._enter(0, time)
            return
        error = self._place(view) - view.tool
        error += self.config.sight_error * self.rng.standard_normal(3)
        if self._is_content(error):
            if name == "descend":
                self._grasp_height = float(view.tool[2])
            if name == "retreat":
                self.is_done = True
                return
            self._enter(self._index + 1, time)
            return
        self._submove(error, time)

    def _is_content(self, error: Array) -> bool:
        tolerance = self.config.tolerance
        rough = 2.5 if self.phase.name in ("lift", "retreat") else 1.0
        return bool(
            np.linalg.norm(error[:2]) < rough * tolerance and abs(error[2]) < rough * tolerance
        )

    def _place(self, view: View) -> Array:
        """Return where the tool should be (3,) [m]."""
        scene, name = self.scene, self.phase.name
        block, goal = view.block, np.array(scene.goal)
        above = np.array([0.0, 0.0, self._clearance])
        held = view.tool - view.block  # offset of the tool from the held block
        return {
            "reach": block + above,
            "descend": np.array([block[0], block[1], max(block[2], self._lowest)]),
            "lift": np.array([*view.tool[:2], self._grasp_height + 1.2 * self._clearance]),
            "carry": np.array([*(goal + held)[:2], self._grasp_height + self._clearance]),
            "lower": np.array([*(goal + held)[:2], self._grasp_height + DROP_HEIGHT]),
            "retreat": view.tool * [1, 1, 0] + [0, 0, self._grasp_height + self._clearance],
        }[name]

    @property
    def _lowest(self) -> float:
        """Height to which the tool comes down, a little above that of the arm's limit [m]."""
        return 0.022

    def _is_held(self, view: View) -> bool:
        return bool(np.linalg.norm(view.block - view.tool) < self.scene.block_size)

    def _wait_for_gripper(self, view: View, time: float) -> None:
        """Go on when the gripper is seen closed on the block, or open."""
        waited = time - self._phase_start
        ratio = view.opening / self.scene.block_size
        ready = ratio < 1.5 if self.phase.grips else ratio > 1.3
        if waited > self.config.reaction_time + GRIP_TIME + 0.2 and (
            ready or waited > MAX_CLOSING_TIME
        ):
            self._enter(self._index + 1, time)

    def _enter(self, index: int, time: float) -> None:
        self._index, self._phase_start = index, time
        if self.phase.name not in ("close", "open"):
            view = self._views[0]
            error = self._place(view) - view.tool
            self._submove(error, time)

    def _submove(self, error: Array, time: float) -> None:
        """Move the hand so that the tool moves by an error (3,) [m]."""
        way = error / self.scale
        length = float(np.linalg.norm(way))
        way = way + self.config.aim_error * length * self.rng.standard_normal(3)
        self._from, goal = self.hand.copy(), self.hand + way
        distance = float(np.linalg.norm(goal))
        self._to = goal * min(1.0, REACH / max(distance, 1e-6))
        tolerance = self.config.tolerance / self.scale
        care = CARE if self.phase.name in ("descend", "lower") else 1.0
        duration = FITTS_OFFSET + FITTS_SLOPE * float(np.log2(length / tolerance + 1))
        self._start, self._end = time, time + care * duration

"""The loop of a real DofBot: wanted joints and opening enter; measured ones with their time leave.

One tick of the arm's rate (50 Hz, 20 ms) writes once, which takes 2 to 3 ms on a bus of 100 kHz,
and reads some servos, at about 3.7 ms each. All six (22 ms) do not fit, so a reading spreads over
several ticks: three servos a tick give 25 whole readings a second. A reading is given out when it
is whole, never mixed with an older one; its time is the mean of its six instants, and its spread
says how far those lie apart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.dofbot_bus import (
    GRIPPER_CLOSED_ANGLE,
    SERVOS,
    Array,
    DofbotBus,
    joints_to_servos,
    opening_to_servo,
    servo_to_opening,
    servos_to_joints,
)
from invdyn_ros.robots.robot import Robot

COMMAND_TIMEOUT = 0.1  # [s] without a command, then nothing is written and the servos hold
MAX_CONSECUTIVE_FAILURES = 25  # failures in a row before the arm counts as gone
GRIPPER_SPEED = 0.12  # [m/s] of the opening: both fingers at their rated speed
LIMIT_TOLERANCE = 1e-6  # [rad] by which a command may miss a limit
GRIPPER = len(SERVOS) - 1  # index of the gripper's servo
ARM = slice(0, GRIPPER)


class Reading(NamedTuple):
    """What the arm measured.

    Attributes:
        time: mean time of the six reads, on the driver's clock [s].
        spread: time from the first read to the last [s].
        q: (5,) joint positions [rad].
        opening: distance between the finger pads [m].
    """

    time: float
    duration: float
    q: Array
    opening: float


class DofbotDriver:
    """Moves the arm towards the newest command, never faster than it may, and reads it back.

    Nothing is written before the first whole reading, from which the motion starts: a far command
    is approached at the rated speed. The gripper is left alone until its first command.
    """

    def __init__(
        self,
        bus: DofbotBus,
        robot: Robot,
        reads_per_tick: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the servos stiff.

        Raises:
            ValueError: reads_per_tick is out of range, or the robot is no DofBot.
            OSError: the board does not answer.
        """
        if not 1 <= reads_per_tick <= len(SERVOS):
            raise ValueError(f"reads_per_tick is {reads_per_tick}; 1 to {len(SERVOS)} are right")
        if robot.n != GRIPPER or robot.gripper is None:
            raise ValueError(f"'{robot.name}' is no DofBot: five joints and a gripper")
        self.bus, self.robot, self.clock = bus, robot, clock
        self.reads_per_tick, self.period = reads_per_tick, 1 / robot.rate
        self.max_opening = robot.gripper.max_opening
        grip_step = GRIPPER_CLOSED_ANGLE * GRIPPER_SPEED / self.max_opening * self.period
        self.max_step = np.append(
            np.degrees(robot.velocity) * self.period, grip_step
        )  # (6,) [deg]
        self.target = np.full(len(SERVOS), np.nan)  # [deg]; NaN: never commanded
        self.setpoint = np.full(len(SERVOS), np.nan)  # [deg] last written
        self.command_times = {"arm": -np.inf, "gripper": -np.inf}  # when [s]
        self.failures: Counter[str] = Counter()  # in a row
        self.incomplete_readings = 0  # readings given up because a servo did not answer
        self.last_reading: Reading | None = None
        self._start_reading()
        bus.set_torque(True)

    def command(self, q: Array) -> None:
        """Note where the joints (5,) [rad] shall be.

        Raises:
            ValueError: another number of joints, or one beyond its limits or not finite.
        """
        robot = self.robot
        if np.shape(q) != (robot.n,):
            raise ValueError(f"the arm has {robot.n} joints, got {np.size(q)} positions")
        limits = zip(robot.joint_names, q, robot.lower, robot.upper, strict=True)
        for name, value, lower, upper in limits:
            if not lower - LIMIT_TOLERANCE <= value <= upper + LIMIT_TOLERANCE:
                raise ValueError(
                    f"'{name}' cannot go to {value:.4g} rad; {lower:.4g} to {upper:.4g} are right"
                )
        self.target[ARM] = joints_to_servos(np.clip(q, robot.lower, robot.upper))
        self.command_times["arm"] = self.clock()

    def command_gripper(self, opening: float) -> None:
        """Note how far the gripper shall open [m].

        Raises:
            ValueError: it cannot, or the number is negative or not finite.
        """
        self.target[GRIPPER] = opening_to_servo(opening, self.max_opening)
        self.command_times["gripper"] = self.clock()

    @property
    def problem(self) -> str | None:
        """Why nothing is written to the joints, None if something is."""
        if not self._has_fresh_command("arm"):
            return f"no command for {COMMAND_TIMEOUT} s: the servos hold"
        return "no reading yet: the arm waits for one" if self.last_reading is None else None

    def tick(self) -> Reading | None:
        """Write what is due and read some servos; call it once a period.

        Returns:
            A reading when this tick has completed one.

        Raises:
            OSError: the board, or one servo, has failed too often in a row.
        """
        self._attempt("board", self._write)
        return self._read()

    def close(self, release: bool = False) -> None:
        """Leave the servos stiff so that the arm does not fall, or release them."""
        if release:
            self.bus.set_torque(False)

    def _has_fresh_command(self, part: str) -> bool:
        return self.clock() - self.command_times[part] <= COMMAND_TIMEOUT

    def _write(self) -> None:
        """Advance the commanded servos by one step."""
        if self.last_reading is None:
            return
        arm, gripper = self._has_fresh_command("arm"), self._has_fresh_command("gripper")
        if not (arm or gripper):
            return
        wanted = np.where([arm] * GRIPPER + [gripper], self.target, self.setpoint)
        measured = joints_to_servos(self.last_reading.q)
        measured = np.append(measured, opening_to_servo(self._clipped_opening(), self.max_opening))
        start = np.where(np.isnan(self.setpoint), measured, self.setpoint)
        # where stops are passed, because the arm was pushed there, the way starts at the stop
        start = np.clip(start, 0, [servo.max_angle for servo in SERVOS])
        setpoint = start + np.clip(wanted - start, -self.max_step, self.max_step)
        if arm and not np.isnan(setpoint[GRIPPER]):
            self.bus.write_servos(setpoint, self.period)
        else:
            for i in range(GRIPPER) if arm else (GRIPPER,):
                self.bus.write_servo(SERVOS[i].id, setpoint[i], self.period)
        self.setpoint = setpoint

    def _clipped_opening(self) -> float:
        """Measured opening [m] as one that may be asked for."""
        return float(
            np.clip(self.last_reading.opening if self.last_reading else 0.0, 0.0, self.max_opening)
        )

    def _start_reading(self) -> None:
        """Start the next reading."""
        self._angles: list[float | None] = []
        self._times: list[float] = []

    def _read(self) -> Reading | None:
        for _ in range(self.reads_per_tick):
            id = SERVOS[len(self._angles)].id
            asked = self.clock()
            self._angles.append(
                self._attempt(f"servo {id}", partial(self.bus.read_servo, id), True)
            )
            self._times.append((asked + self.clock()) / 2)
            if len(self._angles) == len(SERVOS):
                return self._finish_reading()
        return None

    def _finish_reading(self) -> Reading | None:
        """Return the reading if every servo has answered, and begin the next."""
        angles, times = self._angles, self._times
        self._start_reading()
        if None in angles:
            self.incomplete_readings += 1
            return None
        known = np.array(angles, float)
        opening = servo_to_opening(known[GRIPPER], self.max_opening)
        self.last_reading = Reading(
            float(np.mean(times)), times[-1] - times[0], servos_to_joints(known[ARM]), opening
        )
        return self.last_reading

    def _attempt(
        self, what: str, call: Callable[[], float | None], answers: bool = False
    ) -> float | None:
        """Do something on the bus; forgive a failure, but not many in a row."""
        problem: OSError | None = None
        value = None
        try:
            value = call()
        except OSError as error:
            problem = error
        failed = problem is not None or (answers and value is None)
        self.failures[what] = self.failures[what] + 1 if failed else 0
        if self.failures[what] >= MAX_CONSECUTIVE_FAILURES:
            raise problem or OSError(
                f"{what} of the DofBot has not said where it is {MAX_CONSECUTIVE_FAILURES} times in a row; "
                "check its cable"
            )
        return value

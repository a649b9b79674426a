"""DofBot driver: rate-limited commands and time-stamped joint readings of the real arm.

Each tick of the control rate (50 Hz, 20 ms) writes once, which takes 2 to 3 ms on a 100 kHz bus,
and reads some of the servos, which takes about 3.7 ms each. Reading all six (22 ms) does not fit
in a tick, so a reading takes several: with three servos per tick there are 25 readings per second.
A reading is published only when complete and never mixed with an older one. Its stamp is the mean
time of its six reads, and its duration is the time between the first and the last.
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
    DofbotBus,
    joints_to_servos,
    opening_to_servo,
    servo_to_opening,
    servos_to_joints,
)
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

COMMAND_TIMEOUT = 0.1  # [s] without a command after which the servos hold
MAX_CONSECUTIVE_FAILURES = 25  # then the arm is considered disconnected
GRIPPER_SPEED = 0.12  # [m/s] of the opening, both fingers at rated speed
LIMIT_TOLERANCE = 1e-6  # [rad] by which a command may exceed a limit
GRIPPER_INDEX = len(SERVOS) - 1  # index of the gripper servo
JOINT_INDICES = slice(0, GRIPPER_INDEX)


class Reading(NamedTuple):
    """Joint and gripper positions at one time.

    Attributes:
        time: mean time of the six reads on the driver's clock [s].
        duration: time from the first read to the last [s].
        q: (5,) joint positions [rad].
        opening: distance between the finger pads [m].
    """

    time: float
    duration: float
    q: Array
    opening: float


class DofbotDriver:
    """Moves the arm towards the latest command at limited speed and reads its position.

    Motion starts from the first complete reading, and nothing is written before it. A distant
    command is approached at the rated speed. The gripper does not move before its first command.
    """

    def __init__(
        self,
        bus: DofbotBus,
        robot: Robot,
        reads_per_tick: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Switch the torque of the servos on.

        Args:
            bus: servo board.
            robot: the DofBot.
            reads_per_tick: number of servos to read in each tick, 1 to 6.
            clock: monotonic time [s].

        Raises:
            ValueError: reads_per_tick is out of range, or the robot is not a DofBot.
            OSError: the board does not respond.
        """
        if not 1 <= reads_per_tick <= len(SERVOS):
            raise ValueError(f"reads_per_tick is {reads_per_tick}; allowed are 1 to {len(SERVOS)}")
        if robot.n != GRIPPER_INDEX or robot.gripper is None:
            raise ValueError(
                f"'{robot.name}' is not a DofBot, which has five joints and a gripper"
            )
        self.bus, self.robot, self.clock = bus, robot, clock
        self.reads_per_tick, self.period = reads_per_tick, 1 / robot.rate
        self.max_opening = robot.gripper.max_opening
        max_gripper_step = GRIPPER_CLOSED_ANGLE * GRIPPER_SPEED / self.max_opening * self.period
        max_joint_steps = np.degrees(robot.velocity) * self.period
        self.max_step = np.append(max_joint_steps, max_gripper_step)  # (6,) [deg]
        self.target = np.full(len(SERVOS), np.nan)  # [deg]; NaN: no command yet
        self.setpoint = np.full(len(SERVOS), np.nan)  # [deg] last written
        self.command_times = {"arm": -np.inf, "gripper": -np.inf}  # time of the last command [s]
        self.failures: Counter[str] = Counter()  # consecutive failures by component
        self.incomplete_readings = 0  # readings dropped because a servo did not respond
        self.last_reading: Reading | None = None
        self._start_reading()
        bus.set_torque(True)

    def command(self, q: Array) -> None:
        """Set the target joint positions (5,) [rad].

        Raises:
            ValueError: wrong number of joints, or a position out of limits or not finite.
        """
        robot = self.robot
        if np.shape(q) != (robot.n,):
            raise ValueError(f"the arm has {robot.n} joints, got {np.size(q)} positions")
        limits = zip(robot.joint_names, q, robot.lower, robot.upper, strict=True)
        for name, value, lower, upper in limits:
            if not lower - LIMIT_TOLERANCE <= value <= upper + LIMIT_TOLERANCE:
                raise ValueError(
                    f"'{name}' cannot go to {value:.4g} rad; "
                    f"allowed are {lower:.4g} to {upper:.4g}"
                )
        self.target[JOINT_INDICES] = joints_to_servos(np.clip(q, robot.lower, robot.upper))
        self.command_times["arm"] = self.clock()

    def command_gripper(self, opening: float) -> None:
        """Set the target opening of the gripper [m].

        Raises:
            ValueError: the opening is negative, too large or not finite.
        """
        self.target[GRIPPER_INDEX] = opening_to_servo(opening, self.max_opening)
        self.command_times["gripper"] = self.clock()

    @property
    def problem(self) -> str | None:
        """Reason why the joints are not commanded, None if they are."""
        if not self._has_fresh_command("arm"):
            return f"no command for {COMMAND_TIMEOUT} s: the servos hold"
        return "no reading yet: the arm waits for one" if self.last_reading is None else None

    def tick(self) -> Reading | None:
        """Write the next setpoint and read some servos; call it once per period.

        Returns:
            The reading that this tick completed, or None.

        Raises:
            OSError: the board or a servo has failed too many times in a row.
        """
        self._attempt("board", self._write)
        return self._read()

    def close(self, release: bool = False) -> None:
        """Keep the torque on so that the arm does not fall, or switch it off if `release`."""
        if release:
            self.bus.set_torque(False)

    def _has_fresh_command(self, part: str) -> bool:
        return self.clock() - self.command_times[part] <= COMMAND_TIMEOUT

    def _write(self) -> None:
        """Move the setpoints of the commanded servos by one step towards their targets."""
        if self.last_reading is None:
            return
        arm, gripper = self._has_fresh_command("arm"), self._has_fresh_command("gripper")
        if not (arm or gripper):
            return
        target = np.where([arm] * GRIPPER_INDEX + [gripper], self.target, self.setpoint)
        measured = joints_to_servos(self.last_reading.q)
        measured = np.append(measured, opening_to_servo(self._clipped_opening(), self.max_opening))
        start = np.where(np.isnan(self.setpoint), measured, self.setpoint)
        # a pushed arm can be beyond a stop; start at the stop
        start = np.clip(start, 0, [servo.max_angle for servo in SERVOS])
        setpoint = start + np.clip(target - start, -self.max_step, self.max_step)
        if arm and not np.isnan(setpoint[GRIPPER_INDEX]):
            self.bus.write_servos(setpoint, self.period)
        else:
            for i in range(GRIPPER_INDEX) if arm else (GRIPPER_INDEX,):
                self.bus.write_servo(SERVOS[i].id, setpoint[i], self.period)
        self.setpoint = setpoint

    def _clipped_opening(self) -> float:
        """Return the measured opening [m] clipped to the range of commands."""
        return float(
            np.clip(self.last_reading.opening if self.last_reading else 0.0, 0.0, self.max_opening)
        )

    def _start_reading(self) -> None:
        """Start a new reading."""
        self._angles: list[float | None] = []
        self._times: list[float] = []

    def _read(self) -> Reading | None:
        for _ in range(self.reads_per_tick):
            id = SERVOS[len(self._angles)].id
            start = self.clock()
            self._angles.append(
                self._attempt(f"servo {id}", partial(self.bus.read_servo, id), True)
            )
            self._times.append((start + self.clock()) / 2)
            if len(self._angles) == len(SERVOS):
                return self._finish_reading()
        return None

    def _finish_reading(self) -> Reading | None:
        """Return the reading if all servos have responded, and start the next one."""
        angles, times = self._angles, self._times
        self._start_reading()
        if None in angles:
            self.incomplete_readings += 1
            return None
        positions = np.array(angles, float)
        opening = servo_to_opening(positions[GRIPPER_INDEX], self.max_opening)
        self.last_reading = Reading(
            float(np.mean(times)),
            times[-1] - times[0],
            servos_to_joints(positions[JOINT_INDICES]),
            opening,
        )
        return self.last_reading

    def _attempt(
        self, component: str, call: Callable[[], float | None], returns_value: bool = False
    ) -> float | None:
        """Call a bus function, tolerating failures unless there are too many in a row.

        Args:
            component: name of the component whose failures are counted.
            call: bus function.
            returns_value: whether a result of None is a failure.

        Raises:
            OSError: MAX_CONSECUTIVE_FAILURES is reached.
        """
        problem: OSError | None = None
        value = None
        try:
            value = call()
        except OSError as error:
            problem = error
        failed = problem is not None or (returns_value and value is None)
        self.failures[component] = self.failures[component] + 1 if failed else 0
        if self.failures[component] >= MAX_CONSECUTIVE_FAILURES:
            raise problem or OSError(
                f"{component} of the DofBot has not responded {MAX_CONSECUTIVE_FAILURES} times "
                "in a row; check its cable"
            )
        return value

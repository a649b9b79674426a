"""I2C protocol of the Yahboom DofBot's servo board.

The board has its registers at address 0x15. Servos 1 to 5 are the joints, servo 6 is the gripper.
A joint angle is the servo angle minus 90 degrees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from invdyn_ros.typing import Array

ADDRESS = 0x15
WRITE_SERVO = 0x10  # + id: position high, low, time high, low
TORQUE = 0x1A  # 1: on
WRITE_ALL = 0x1D  # six positions, high byte first
WRITE_DURATION = 0x1E  # of the move that WRITE_ALL starts
READ_SERVO = 0x30  # + id: a write requests the position, a read returns it
RESPONSE_DELAY = 0.003  # [s] until the board has the servo's position
COUNT_RANGE = (96, 4000)  # counts that a servo can report
ZERO_ANGLE = 90.0  # servo angle at joint angle zero [deg]
GRIPPER_CLOSED_ANGLE = 170.0  # servo angle of the closed gripper [deg]; 180 is too far
ANGLE_TOLERANCE = 1e-9  # rounding error of the conversion from radians [deg]


class I2CBus(Protocol):
    """Subset of smbus2.SMBus that the driver uses."""

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one byte to a register.

        Args:
            i2c_addr: address of the device.
            register: register number.
            value: byte, 0 to 255.
        """

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write up to 32 bytes to a register.

        Args:
            i2c_addr: address of the device.
            register: register number.
            data: bytes, 0 to 255 each.
        """

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        """Read two bytes from a register, the low one first."""


class Servo(NamedTuple):
    """Linear map between the angle of a servo and its counts."""

    id: int
    low_count: int  # at 0 deg, or at the maximum angle if inverted
    high_count: int
    angle_range: float  # angle between low and high count [deg]
    max_angle: float  # largest angle that may be commanded [deg]
    inverted: bool

    def count(self, angle: float) -> int:
        """Return the count nearest to an angle [deg].

        Raises:
            ValueError: the angle is negative, too large or not finite.
        """
        if not -ANGLE_TOLERANCE <= angle <= self.max_angle + ANGLE_TOLERANCE:
            raise ValueError(
                f"servo {self.id} cannot go to {angle:.2f} deg; "
                f"allowed are 0 to {self.max_angle:g}"
            )
        offset = self.angle_range - angle if self.inverted else angle
        return round(
            self.low_count + (self.high_count - self.low_count) * offset / self.angle_range
        )

    def angle(self, count: int) -> float:
        """Return the angle [deg] of a count."""
        offset = (count - self.low_count) * self.angle_range / (self.high_count - self.low_count)
        return self.angle_range - offset if self.inverted else offset


SERVOS = (
    Servo(1, 900, 3100, 180.0, 180.0, False),
    Servo(2, 900, 3100, 180.0, 180.0, True),
    Servo(3, 900, 3100, 180.0, 180.0, True),
    Servo(4, 900, 3100, 180.0, 180.0, True),
    Servo(5, 380, 3700, 270.0, 270.0, False),
    Servo(6, 900, 3100, 180.0, GRIPPER_CLOSED_ANGLE, False),
)


def joints_to_servos(q: Array) -> Array:
    """Return servo angles [deg] of joint angles [rad], same shape."""
    return np.degrees(q) + ZERO_ANGLE


def servos_to_joints(angles: Array) -> Array:
    """Return joint angles [rad] of servo angles [deg], same shape."""
    return np.radians(np.asarray(angles) - ZERO_ANGLE)


def opening_to_servo(opening: float, max_opening: float) -> float:
    """Return the gripper servo's angle [deg] for a distance between the pads [m].

    Raises:
        ValueError: the opening is negative, too large or not finite.
    """
    if not 0 <= opening <= max_opening:
        raise ValueError(f"gripper opening {opening} m is not within 0 to {max_opening} m")
    return GRIPPER_CLOSED_ANGLE * (1 - opening / max_opening)


def servo_to_opening(angle: float, max_opening: float) -> float:
    """Return the distance between the pads [m] at an angle [deg] of the gripper servo."""
    return max_opening * (1 - angle / GRIPPER_CLOSED_ANGLE)


class DofbotBus:
    """Servo board of the DofBot: moves the servos and reads their angles.

    Failed transfers are not repeated; the caller decides whether to try again.
    """

    def __init__(self, bus: I2CBus, sleep: Callable[[float], None] = time.sleep) -> None:
        self.bus, self.sleep = bus, sleep

    def set_torque(self, on: bool) -> None:
        """Switch the torque of all servos on, at their current angles, or off."""
        self._send(lambda: self.bus.write_byte_data(ADDRESS, TORQUE, int(on)))

    def write_servo(self, id: int, angle: float, duration: float) -> None:
        """Start a move of one servo.

        Args:
            id: servo id, 1 to 6.
            angle: target angle [deg].
            duration: duration of the move [s].

        Raises:
            ValueError: the angle or the duration is out of range, or there is no such servo.
            OSError: the board does not respond.
        """
        if not 1 <= id <= len(SERVOS):
            raise ValueError(f"there is no servo {id}; ids are 1 to {len(SERVOS)}")
        data = [*_bytes(SERVOS[id - 1].count(angle)), *_bytes(_milliseconds(duration))]
        self._send(lambda: self.bus.write_i2c_block_data(ADDRESS, WRITE_SERVO + id, data))

    def write_servos(self, angles: Sequence[float] | Array, duration: float) -> None:
        """Start a move of all servos.

        Args:
            angles: (6,) target angles [deg].
            duration: duration of the move [s].

        Raises:
            ValueError: an angle or the duration is out of range; no servo moves.
            OSError: the board does not respond.
        """
        if len(angles) != len(SERVOS):
            raise ValueError(f"the arm has {len(SERVOS)} servos, got {len(angles)} angles")
        counts = [servo.count(angle) for servo, angle in zip(SERVOS, angles, strict=True)]
        data = [byte for count in counts for byte in _bytes(count)]
        duration_bytes = _bytes(_milliseconds(duration))
        self._send(lambda: self.bus.write_i2c_block_data(ADDRESS, WRITE_DURATION, duration_bytes))
        self._send(lambda: self.bus.write_i2c_block_data(ADDRESS, WRITE_ALL, data))

    def read_servo(self, id: int) -> float | None:
        """Return the angle of a servo [deg], None if it did not respond; takes a little over 3 ms.

        The angle can be slightly outside the range of commands, since an arm can be pushed.

        Raises:
            OSError: the board does not respond.
        """
        self._send(lambda: self.bus.write_byte_data(ADDRESS, READ_SERVO + id, 0))
        self.sleep(RESPONSE_DELAY)
        try:
            word = self.bus.read_word_data(ADDRESS, READ_SERVO + id)
        except OSError as error:
            raise _no_response(error) from error
        count = (word & 0xFF) << 8 | word >> 8  # the board sends the high byte first
        low, high = COUNT_RANGE
        return SERVOS[id - 1].angle(count) if low <= count <= high else None  # 0 means failure

    def _send(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise _no_response(error) from error


def open_bus(number: int = 1) -> I2CBus:
    """Open an I2C bus of this machine.

    Raises:
        OSError: smbus2 is not installed, or there is no such bus; the message gives the remedy.
    """
    try:
        from smbus2 import SMBus
    except ImportError as error:
        raise OSError(
            "a real DofBot needs the Python package smbus2: pip install 'invdyn_ros[dofbot]', or "
            "-r requirements/dofbot.txt in its source folder"
        ) from error
    try:
        return SMBus(number)  # type: ignore[no-any-return]
    except OSError as error:
        raise OSError(
            f"cannot open I2C bus {number} (/dev/i2c-{number}): {error.strerror}; "
            "enable I2C and give this user the group i2c"
        ) from error


def _no_response(error: OSError) -> OSError:
    return OSError(
        f"no response from the DofBot's servo board at I2C address {ADDRESS:#x}: "
        f"{error.strerror or error}; check its power and cable"
    )


def _bytes(value: int) -> tuple[int, int]:
    return value >> 8 & 0xFF, value & 0xFF


def _milliseconds(duration: float) -> int:
    value = round(1e3 * duration) if np.isfinite(duration) else -1
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"a move cannot take {duration} s; allowed are 0 to 65.535 s")
    return value

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from invdyn_ros.arms.dofbot import (
    SERVOS,
    DofbotBus,
    joints_to_servos,
    open_bus,
    opening_to_servo,
    servo_to_opening,
    servos_to_joints,
)
from invdyn_ros.arms.dofbot_driver import PATIENCE, DofbotDriver
from invdyn_ros.nodes.dofbot import DofbotNode
from invdyn_ros.nodes.runner import Loop
from invdyn_ros.robot import load_robot

ROBOT = load_robot("dofbot")
OPEN = ROBOT.gripper.max_opening
HOME = (2000, 2000, 2000, 2000, 1487, 1511)  # counts of the vendor's home: 90 90 90 90 90 50 deg


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class ServoBoard:
    """The registers of the servo board, and six servos that go straight to their goal in time."""

    def __init__(self, clock, counts=HOME):
        self.clock = clock
        self.moves = [(count, count, 0.0, 0.0) for count in counts]  # from, to, since, duration
        self.duration = 0.0
        self.torque = False
        self.asked = {}
        self.mute = set()  # servos that do not answer
        self.cut = False
        self.log = []

    def count(self, i):
        first, last, since, duration = self.moves[i]
        done = min((self.clock() - since) / duration, 1.0) if duration else 1.0
        return round(first + done * (last - first))

    def move(self, i, count, duration):
        assert 96 <= count <= 4000
        if self.torque:
            self.moves[i] = (self.count(i), count, self.clock(), duration)

    def write(self, register, data):
        if self.cut:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        self.log.append((register, tuple(data)))

    def write_byte_data(self, i2c_addr, register, value):
        assert i2c_addr == 0x15
        self.write(register, [value])
        if register == 0x1A:
            self.torque = bool(value)
        elif 0x31 <= register <= 0x36:
            self.asked[register] = self.clock()

    def write_i2c_block_data(self, i2c_addr, register, data):
        assert i2c_addr == 0x15 and all(0 <= byte <= 255 for byte in data)
        self.write(register, data)
        words = [high << 8 | low for high, low in zip(data[::2], data[1::2], strict=True)]
        if register == 0x1E:
            self.duration = words[0] / 1e3
        elif register == 0x1D:
            for i, count in enumerate(words):
                self.move(i, count, self.duration)
        elif 0x11 <= register <= 0x16:
            self.move(register - 0x11, words[0], words[1] / 1e3)

    def read_word_data(self, i2c_addr, register):
        assert i2c_addr == 0x15
        if self.cut:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        asked, id = self.asked.pop(register, np.inf), register - 0x30
        if id in self.mute or self.clock() - asked < 0.003 - 1e-9:
            return 0
        count = self.count(id - 1)
        return (count & 0xFF) << 8 | count >> 8  # SMBus: the first byte is the low one


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return ServoBoard(clock)


@pytest.fixture
def bus(board, clock):
    return DofbotBus(board, clock.sleep)


@pytest.fixture
def driver(bus, clock):
    return DofbotDriver(bus, ROBOT, clock=clock)


def run(driver, ticks, q=None, opening=None):
    """Do some ticks at 50 Hz with a command held; return the readings."""
    readings = []
    for _ in range(ticks):
        due = driver.clock() + driver.period
        if q is not None:
            driver.command(np.asarray(q))
        if opening is not None:
            driver.grip(opening)
        readings.append(driver.tick())
        driver.clock.now = due
    return [reading for reading in readings if reading is not None]


def writes(board):
    """Registers written that move servos."""
    return [register for register, _ in board.log if 0x11 <= register <= 0x1E and register != 0x1A]


def test_known_angles_are_the_counts_of_the_datasheet():
    assert [servo.count(0) for servo in SERVOS] == [900, 3100, 3100, 3100, 380, 900]
    assert [servo.count(90) for servo in SERVOS] == [2000, 2000, 2000, 2000, 1487, 2000]
    assert [servo.count(45) for servo in SERVOS[:3]] == [1450, 2550, 2550]
    assert SERVOS[4].count(270) == 3700 and SERVOS[5].count(170) == 2978


@pytest.mark.parametrize("servo", SERVOS, ids=lambda servo: str(servo.id))
def test_a_count_survives_the_way_to_an_angle_and_back(servo):
    lowest, highest = sorted((servo.count(0), servo.count(servo.largest)))
    counts = range(lowest + 1, highest)  # the ends may be rounded beyond what may be asked for
    assert [servo.count(servo.angle(count)) for count in counts] == list(counts)
    angles = np.linspace(0, servo.largest, 997)
    back = [servo.angle(servo.count(angle)) for angle in angles]
    assert np.abs(back - angles).max() <= 0.5 * servo.span / (servo.high - servo.low) + 1e-9


@pytest.mark.parametrize("servo", SERVOS, ids=lambda servo: str(servo.id))
@pytest.mark.parametrize("beyond", [-0.1, -90.0, 0.1, 180.0, np.nan, np.inf])
def test_an_angle_out_of_range_is_refused_and_nothing_moves(bus, board, servo, beyond):
    angle = servo.largest + beyond if beyond > 0 else beyond
    with pytest.raises(ValueError, match=f"servo {servo.id} cannot go to"):
        bus.write_one(servo.id, angle, 0.02)
    angles = np.full(6, 90.0)
    angles[servo.id - 1] = angle
    with pytest.raises(ValueError, match=f"servo {servo.id} cannot go to"):
        bus.write_six(angles, 0.02)
    assert not board.log


def test_joint_angles_are_servo_angles_less_ninety_degrees():
    angles = np.array([0.0, 45.0, 90.0, 135.0, 180.0])
    assert np.allclose(servos_to_joints(angles), np.pi / 4 * np.array([-2, -1, 0, 1, 2]))
    assert np.allclose(joints_to_servos(servos_to_joints(angles)), angles, atol=1e-12)


def test_the_gripper_is_open_at_zero_and_closed_at_170_degrees():
    assert opening_to_servo(OPEN, OPEN) == 0 and opening_to_servo(0, OPEN) == 170
    assert servo_to_opening(opening_to_servo(0.3 * OPEN, OPEN), OPEN) == pytest.approx(0.3 * OPEN)
    for wrong in (-0.001, OPEN + 0.001, np.nan):
        with pytest.raises(ValueError, match="gripper opening"):
            opening_to_servo(wrong, OPEN)


def test_bytes_on_the_bus_are_those_of_the_vendors_protocol(bus, board):
    bus.set_torque(True)
    bus.write_one(2, 45.0, 0.5)  # 2550 = 0x09f6, 500 ms = 0x01f4
    bus.write_six([90, 90, 90, 90, 90, 50], 0.02)
    assert board.log == [
        (0x1A, (1,)),
        (0x12, (0x09, 0xF6, 0x01, 0xF4)),
        (0x1E, (0x00, 0x14)),
        (0x1D, (7, 0xD0, 7, 0xD0, 7, 0xD0, 7, 0xD0, 5, 0xCF, 5, 0xE7)),
    ]


def test_a_servo_is_read_where_it_was_sent(bus, board, clock):
    bus.set_torque(True)
    angles = [10.0, 20.0, 100.0, 170.0, 200.0, 120.0]
    bus.write_six(angles, 0.02)
    clock.sleep(0.02)
    began = clock()
    assert np.allclose([bus.read(servo.id) for servo in SERVOS], angles, atol=0.05)
    assert clock() - began == pytest.approx(6 * 0.003)


def test_a_failed_read_is_none_and_never_an_angle(bus, board):
    board.mute.add(3)
    assert bus.read(3) is None and bus.read(4) == 90
    hasty = DofbotBus(board, sleep=lambda seconds: None)
    assert hasty.read(4) is None


def test_a_limp_arm_does_not_move(bus, board):
    bus.write_one(1, 45.0, 0.02)
    assert bus.read(1) == 90


def test_nothing_is_written_before_a_command(driver, board):
    assert len(run(driver, 10)) == 5 and board.torque and not writes(board)
    assert "no command" in driver.problem


def test_the_arm_arrives_and_says_so(driver, board):
    q = np.array([0.5, -0.4, 0.3, -0.2, 0.1])
    reading = run(driver, 60, q, 0.5 * OPEN)[-1]
    assert np.allclose(reading.q, q, atol=1e-3) and driver.problem is None
    assert reading.opening == pytest.approx(0.5 * OPEN, abs=1e-4)
    assert set(writes(board)[-4:]) == {0x1D, 0x1E}


def test_a_far_command_is_approached_at_the_rated_speed(driver, board):
    first = run(driver, 2)[-1]
    readings = run(driver, 50, [1.5, 1.5, -1.5, -1.5, 1.5], 0.0)
    q = np.array([first.q] + [r.q for r in readings])
    t = np.array([first.time] + [r.time for r in readings])
    speed = np.abs(np.diff(q, axis=0)) / np.diff(t)[:, None]
    assert 0.9 < speed.max() / ROBOT.velocity[0] < 1.05
    assert np.abs(np.diff(q, axis=0)).min(axis=0).max() < 0.01  # and they arrive


def test_the_gripper_is_left_alone_until_its_first_command(driver, board):
    run(driver, 20, np.zeros(5))
    assert {0x11, 0x12, 0x13, 0x14, 0x15} == set(writes(board)) and board.count(5) == HOME[5]
    run(driver, 6)  # the arm's command grows old
    run(driver, 2, opening=0.03)
    assert writes(board)[-1] == 0x16


def test_without_commands_writing_stops_and_the_arm_holds(driver, board):
    run(driver, 10, np.full(5, 0.2), 0.02)
    before = len(writes(board))
    run(driver, 5)
    assert before < len(writes(board)) < before + 20  # the last command lives on for 0.1 s
    settled, where = len(writes(board)), [board.count(i) for i in range(6)]
    run(driver, 50)
    assert len(writes(board)) == settled and [board.count(i) for i in range(6)] == where
    assert "no command" in driver.problem and board.torque


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (np.array([0, 0, 1.6, 0, 0.0]), "'joint_3' cannot go to 1.6 rad"),
        (np.array([0, np.nan, 0, 0, 0.0]), "'joint_2' cannot go to nan"),
        (np.zeros(6), "the arm has 5 joints, got 6"),
    ],
)
def test_a_wrong_command_is_refused_whole(driver, board, q, message):
    with pytest.raises(ValueError, match=message):
        driver.command(q)
    run(driver, 10)
    assert not writes(board)


def test_a_reading_is_stamped_in_the_middle_of_its_reads(driver, board):
    """The joints move at constant speed, so the mean of six reads belongs to the mean time."""
    run(driver, 2)
    for servo in range(6):
        first, last = board.count(servo), 1000
        board.moves[servo] = (first, last, board.clock(), 10.0)
    for reading in run(driver, 10):
        assert 0 < reading.spread < 2 * driver.period
        done = (reading.time - board.moves[0][2]) / 10.0
        counts = [first + done * (last - first) for first, last, *_ in board.moves]
        q = servos_to_joints(np.array([SERVOS[i].angle(counts[i]) for i in range(5)]))
        # 1000 counts in 10 s are 8 deg/s, and no read is further from the stamp than the spread
        assert np.abs(reading.q - q).max() <= np.radians(8.2 * reading.spread + 0.1)


def test_a_reading_with_a_hole_is_not_given_out(driver, board):
    board.mute.add(6)
    assert run(driver, 10) == [] and driver.lost == 5
    board.mute.clear()
    assert len(run(driver, 2)) == 1


def test_a_silent_servo_and_a_cut_cable_are_errors_in_the_end(driver, board):
    board.mute.add(5)
    with pytest.raises(OSError, match="servo 5 of the DofBot has not said where it is"):
        run(driver, 3 * PATIENCE)
    board.cut = True
    with pytest.raises(OSError, match="no answer from the DofBot's servo board at I2C address"):
        run(driver, 3 * PATIENCE, np.zeros(5))


def test_a_glitch_on_the_bus_is_survived(driver, board):
    run(driver, 10, np.zeros(5))
    board.cut = True
    run(driver, 3, np.zeros(5))
    board.cut = False
    assert len(run(driver, 4, np.zeros(5))) >= 1


def test_no_board_is_one_clear_line(board, bus):
    board.cut = True
    with pytest.raises(OSError, match=r"0x15: Remote I/O error; check its power and cable"):
        DofbotDriver(bus, ROBOT)


@pytest.mark.parametrize("reads", [0, 7])
def test_an_impossible_number_of_reads_is_refused(bus, reads):
    with pytest.raises(ValueError, match=f"reads_per_tick is {reads}; 1 to 6"):
        DofbotDriver(bus, ROBOT, reads)


def test_the_arm_stays_stiff_unless_asked_to_let_go(driver, board):
    driver.close()
    assert board.torque
    driver.close(release=True)
    assert not board.torque


def test_a_missing_smbus2_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(OSError, match="needs the Python package smbus2"):
        open_bus()


def test_a_node_without_its_hardware_ends_with_one_line_and_code_2():
    ended = subprocess.run(
        [sys.executable, "-m", "invdyn_ros.nodes.dofbot", "--ros-args", "-p", "bus:=99"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ,
        timeout=60,
    )
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("dofbot: ") and "Traceback" not in ended.stderr


def test_the_node_follows_commands_and_publishes_positions_only():
    board = ServoBoard(time.monotonic)
    rclpy.init()
    try:
        node, seen = DofbotNode(board), []
        loop = Loop(node)
        user = rclpy.create_node("user")
        user.create_subscription(JointState, "/joint_states", seen.append, 10)
        arm = user.create_publisher(Float64MultiArray, "/forward_position_controller/commands", 1)
        grip = user.create_publisher(Float64MultiArray, "/gripper/command", 1)
        loop.executor.add_node(user)
        q = [0.1, -0.1, 0.1, -0.1, 0.1]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            arm.publish(Float64MultiArray(data=[9.0] * 5))  # refused
            arm.publish(Float64MultiArray(data=q))
            grip.publish(Float64MultiArray(data=[0.03]))
            loop.turn()
            if seen and np.allclose(seen[-1].position, [*q, 0.015, 0.015], atol=2e-3):
                break
        assert list(seen[-1].name) == [*ROBOT.joint_names, *ROBOT.gripper.joints]
        assert np.allclose(seen[-1].position, [*q, 0.015, 0.015], atol=2e-3)
        assert not len(seen[-1].velocity) and not len(seen[-1].effort)
        stamp = seen[-1].header.stamp
        age = time.time() - (stamp.sec + 1e-9 * stamp.nanosec)
        assert 0 < age < 10
        node.close()
        assert board.torque
        loop.close()
    finally:
        rclpy.try_shutdown()

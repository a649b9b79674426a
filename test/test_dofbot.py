"""DofBot servo protocol: conversion of angles, bytes on the bus, error handling."""

import sys

import numpy as np
import pytest
from servo_board import Clock, ServoBoard, bus_of

from invdyn_ros.arms.dofbot_bus import (
    SERVOS,
    DofbotBus,
    joints_to_servos,
    open_bus,
    opening_to_servo,
    servo_to_opening,
    servos_to_joints,
)
from invdyn_ros.robots.robot import load_robot

OPEN = load_robot("dofbot").gripper.max_opening


@pytest.fixture
def board():
    return ServoBoard(Clock())


@pytest.fixture
def bus(board):
    return bus_of(board)


def test_known_angles_are_the_counts_of_the_datasheet():
    assert [servo.count(0) for servo in SERVOS] == [900, 3100, 3100, 3100, 380, 900]
    assert [servo.count(90) for servo in SERVOS] == [2000, 2000, 2000, 2000, 1487, 2000]
    assert [servo.count(45) for servo in SERVOS[:3]] == [1450, 2550, 2550]
    assert SERVOS[4].count(270) == 3700 and SERVOS[5].count(170) == 2978


@pytest.mark.parametrize("servo", SERVOS, ids=lambda servo: str(servo.id))
def test_counts_round_trip_through_angles(servo):
    lowest, highest = sorted((servo.count(0), servo.count(servo.max_angle)))
    counts = range(lowest + 1, highest)  # the ends may round to angles out of range
    assert [servo.count(servo.angle(count)) for count in counts] == list(counts)
    angles = np.linspace(0, servo.max_angle, 997)
    round_trip = [servo.angle(servo.count(angle)) for angle in angles]
    assert (
        np.abs(round_trip - angles).max()
        <= 0.5 * servo.angle_range / (servo.high_count - servo.low_count) + 1e-9
    )


@pytest.mark.parametrize("servo", SERVOS, ids=lambda servo: str(servo.id))
@pytest.mark.parametrize("excess", [-0.1, -90.0, 0.1, 180.0, np.nan, np.inf])
def test_an_angle_out_of_range_is_refused_and_nothing_moves(bus, board, servo, excess):
    angle = servo.max_angle + excess if excess > 0 else excess
    with pytest.raises(ValueError, match=f"servo {servo.id} cannot go to"):
        bus.write_servo(servo.id, angle, 0.02)
    angles = np.full(6, 90.0)
    angles[servo.id - 1] = angle
    with pytest.raises(ValueError, match=f"servo {servo.id} cannot go to"):
        bus.write_servos(angles, 0.02)
    assert not board.log


def test_joint_angles_are_servo_angles_minus_ninety_degrees():
    angles = np.array([0.0, 45.0, 90.0, 135.0, 180.0])
    assert np.allclose(servos_to_joints(angles), np.pi / 4 * np.array([-2, -1, 0, 1, 2]))
    assert np.allclose(joints_to_servos(servos_to_joints(angles)), angles, atol=1e-12)


def test_the_gripper_is_open_at_zero_and_closed_at_170_degrees():
    assert opening_to_servo(OPEN, OPEN) == 0 and opening_to_servo(0, OPEN) == 170
    assert servo_to_opening(opening_to_servo(0.3 * OPEN, OPEN), OPEN) == pytest.approx(0.3 * OPEN)
    for wrong in (-0.001, OPEN + 0.001, np.nan):
        with pytest.raises(ValueError, match="gripper opening"):
            opening_to_servo(wrong, OPEN)


def test_bytes_on_the_bus_follow_the_protocol_of_the_vendor(bus, board):
    bus.set_torque(True)
    bus.write_servo(2, 45.0, 0.5)  # 2550 = 0x09f6, 500 ms = 0x01f4
    bus.write_servos([90, 90, 90, 90, 90, 50], 0.02)
    assert board.log == [
        (0x1A, (1,)),
        (0x12, (0x09, 0xF6, 0x01, 0xF4)),
        (0x1E, (0x00, 0x14)),
        (0x1D, (7, 0xD0, 7, 0xD0, 7, 0xD0, 7, 0xD0, 5, 0xCF, 5, 0xE7)),
    ]


def test_servos_are_read_at_their_targets(bus, board):
    bus.set_torque(True)
    angles = [10.0, 20.0, 100.0, 170.0, 200.0, 120.0]
    bus.write_servos(angles, 0.02)
    board.clock.sleep(0.02)
    start = board.clock()
    assert np.allclose([bus.read_servo(servo.id) for servo in SERVOS], angles, atol=0.05)
    assert board.clock() - start == pytest.approx(6 * 0.003)


def test_a_failed_read_is_none(bus, board):
    board.mute.add(3)
    assert bus.read_servo(3) is None and bus.read_servo(4) == 90
    impatient = DofbotBus(board, sleep=lambda seconds: None)
    assert impatient.read_servo(4) is None


def test_an_arm_without_torque_does_not_move(bus, board):
    bus.write_servo(1, 45.0, 0.02)
    assert bus.read_servo(1) == 90


def test_error_names_a_missing_smbus2(monkeypatch):
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(OSError, match="needs the Python package smbus2"):
        open_bus()

"""DofBot driver: limited speed, command timeout and bus failures."""

import numpy as np
import pytest
from servo_board import HOME, Clock, ServoBoard, bus_of

from invdyn_ros.arms.dofbot_bus import SERVOS, servos_to_joints
from invdyn_ros.arms.dofbot_driver import MAX_CONSECUTIVE_FAILURES, DofbotDriver
from invdyn_ros.robots.robot import load_robot

ROBOT = load_robot("dofbot")
OPEN = ROBOT.gripper.max_opening


@pytest.fixture
def board():
    return ServoBoard(Clock())


@pytest.fixture
def driver(board):
    return DofbotDriver(bus_of(board), ROBOT, clock=board.clock)


def run(driver, ticks, q=None, opening=None):
    """Run ticks at 50 Hz with a constant command and return the readings."""
    readings = []
    for _ in range(ticks):
        due = driver.clock() + driver.period
        if q is not None:
            driver.command(np.asarray(q))
        if opening is not None:
            driver.command_gripper(opening)
        readings.append(driver.tick())
        driver.clock.now = due
    return [reading for reading in readings if reading is not None]


def writes(board):
    """Return the written registers that move servos."""
    return [register for register, _ in board.log if 0x11 <= register <= 0x1E and register != 0x1A]


def test_nothing_is_written_before_a_command(driver, board):
    assert len(run(driver, 10)) == 5 and board.torque and not writes(board)
    assert "no command" in driver.problem


def test_the_arm_reaches_its_target_and_reports_it(driver, board):
    q = np.array([0.5, -0.4, 0.3, -0.2, 0.1])
    reading = run(driver, 60, q, 0.5 * OPEN)[-1]
    assert np.allclose(reading.q, q, atol=1e-3) and driver.problem is None
    assert reading.opening == pytest.approx(0.5 * OPEN, abs=1e-4)
    assert set(writes(board)[-4:]) == {0x1D, 0x1E}


def test_a_distant_target_is_approached_at_the_rated_speed(driver, board):
    first = run(driver, 2)[-1]
    readings = run(driver, 50, [1.5, 1.5, -1.5, -1.5, 1.5], 0.0)
    q = np.array([first.q] + [r.q for r in readings])
    t = np.array([first.time] + [r.time for r in readings])
    speed = np.abs(np.diff(q, axis=0)) / np.diff(t)[:, None]
    assert 0.9 < speed.max() / ROBOT.velocity[0] < 1.05
    assert np.abs(np.diff(q, axis=0)).min(axis=0).max() < 0.01  # and they stop


def test_the_gripper_does_not_move_before_its_first_command(driver, board):
    run(driver, 20, np.zeros(5))
    assert {0x11, 0x12, 0x13, 0x14, 0x15} == set(writes(board)) and board.count(5) == HOME[5]
    run(driver, 6)  # the arm's command times out
    run(driver, 2, opening=0.03)
    assert writes(board)[-1] == 0x16


def test_without_commands_writing_stops_and_the_arm_holds(driver, board):
    run(driver, 10, np.full(5, 0.2), 0.02)
    before = len(writes(board))
    run(driver, 5)
    assert before < len(writes(board)) < before + 20  # the last command is valid for 0.1 s
    settled, positions = len(writes(board)), [board.count(i) for i in range(6)]
    run(driver, 50)
    assert len(writes(board)) == settled and [board.count(i) for i in range(6)] == positions
    assert "no command" in driver.problem and board.torque


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (np.array([0, 0, 1.6, 0, 0.0]), "'joint_3' cannot go to 1.6 rad"),
        (np.array([0, np.nan, 0, 0, 0.0]), "'joint_2' cannot go to nan"),
        (np.zeros(6), "the arm has 5 joints, got 6"),
    ],
)
def test_a_command_with_one_wrong_position_is_refused(driver, board, q, message):
    with pytest.raises(ValueError, match=message):
        driver.command(q)
    run(driver, 10)
    assert not writes(board)


def test_a_reading_is_stamped_with_the_mean_time_of_its_reads(driver, board):
    """The joints move at constant speed, so the mean of six reads belongs to the mean time."""
    run(driver, 2)
    for servo in range(6):
        first, last = board.count(servo), 1000
        board.moves[servo] = (first, last, board.clock(), 10.0)
    for reading in run(driver, 10):
        assert 0 < reading.duration < 2 * driver.period
        progress = (reading.time - board.moves[0][2]) / 10.0
        counts = [first + progress * (last - first) for first, last, *_ in board.moves]
        q = servos_to_joints(np.array([SERVOS[i].angle(counts[i]) for i in range(5)]))
        # 1000 counts in 10 s are 8 deg/s, and no read is further from the stamp than the duration
        assert np.abs(reading.q - q).max() <= np.radians(8.2 * reading.duration + 0.1)


def test_an_incomplete_reading_is_dropped(driver, board):
    board.mute.add(6)
    assert run(driver, 10) == [] and driver.incomplete_readings == 5
    board.mute.clear()
    assert len(run(driver, 2)) == 1


def test_repeated_failures_raise(driver, board):
    board.mute.add(5)
    with pytest.raises(OSError, match="servo 5 of the DofBot has not responded"):
        run(driver, 3 * MAX_CONSECUTIVE_FAILURES)
    board.cut = True
    with pytest.raises(OSError, match="no response from the DofBot's servo board at I2C address"):
        run(driver, 3 * MAX_CONSECUTIVE_FAILURES, np.zeros(5))


def test_a_few_bus_failures_are_tolerated(driver, board):
    run(driver, 10, np.zeros(5))
    board.cut = True
    run(driver, 3, np.zeros(5))
    board.cut = False
    assert len(run(driver, 4, np.zeros(5))) >= 1


def test_a_missing_board_is_reported_in_one_line(board):
    board.cut = True
    with pytest.raises(OSError, match=r"0x15: Remote I/O error; check its power and cable"):
        DofbotDriver(bus_of(board), ROBOT)


@pytest.mark.parametrize("reads", [0, 7])
def test_an_invalid_number_of_reads_is_refused(board, reads):
    with pytest.raises(ValueError, match=f"reads_per_tick is {reads}; allowed are 1 to 6"):
        DofbotDriver(bus_of(board), ROBOT, reads)


def test_torque_stays_on_unless_released(driver, board):
    driver.close()
    assert board.torque
    driver.close(release=True)
    assert not board.torque

"""Speed scaling, pauses and reports of a driver, without ROS."""

from __future__ import annotations

import math

import numpy as np
import pytest
from node_probe import CHECKPOINTS
from oracle import robot

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.driver_monitor import PAUSE_SPEED, DriverMonitor
from invdyn_ros.control.faults import CONTROLLER_INACTIVE, DRIVER_NOT_READY
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.driver import load_driver, shipped_driver

SERVO_TIME = 0.04  # [s]
EPOCH, CLOCK = 1.7e9, 500.0  # [s]


class Servos:
    """Position servos that scale their time, with a controller."""

    def __init__(self, arm):
        self.robot = robot(arm)
        model = load_runtime(str(CHECKPOINTS / f"{arm}_position"), "cpu", self.robot)
        delay = model.meta.action_delay
        safety = SafetyLimitsConfig(tool_speed=0.5)
        self.controller = ArmController(self.robot, model, "rad", delay, safety)
        assert self.controller.engage(True) is None
        self.q, self.setpoint, self.time = self.robot.home.copy(), None, 0.0
        self.qd = np.zeros(self.robot.n)
        self.errors, self.speeds = [], []

    def run(self, seconds, speed, reported=None):
        """Run at a speed of the servos; the controller is reported that it is this one."""
        controller, dt = self.controller, 1 / self.robot.rate
        controller.set_driver_speed(speed if reported is None else reported)
        for k in range(round(seconds * self.robot.rate)):
            if k % round(self.robot.rate / 30) == 0:
                controller.set_target(Target(EPOCH + self.time, self.wave(), 0.0))
            state = MeasuredState(EPOCH + self.time, self.q, self.qd)
            command = controller.update(state, CLOCK + self.time)
            if command.action is not None:
                self.setpoint = command.action
                self.errors.append(np.abs(self.setpoint - self.q).max())
            before = self.q
            if self.setpoint is not None:
                progress = 1 - math.exp(-speed * dt / SERVO_TIME)
                most = speed * self.robot.velocity * dt
                self.q = self.q + np.clip(progress * (self.setpoint - self.q), -most, most)
            self.qd = (self.q - before) / dt
            self.speeds.append(np.abs(self.qd).max())
            self.time += dt

    def wave(self):
        w, turn = 3.0, np.zeros(self.robot.n)
        turn[[0, 3, 5]] = 0.3
        q = self.robot.home + turn * np.sin(w * self.time)
        return State(q, turn * w * np.cos(w * self.time), np.zeros(self.robot.n))


@pytest.mark.parametrize("speed", [0.05, 0.1, 0.3])
def test_plans_are_as_slow_as_the_arm(speed):
    """Dropping to a tenth in full motion, and back, is no fault, and no jump follows."""
    servos = Servos("ur5")
    servos.run(1.6, 1.0)
    fast = max(servos.speeds[-100:])
    servos.run(3.0, speed)
    assert servos.controller.fault is None
    slow = max(servos.speeds[-150:])
    assert 0.2 * speed * fast < slow < 2.0 * speed * fast
    assert max(servos.errors[-250:]) < 0.07, "so much it catches up when it is as fast again"
    servos.run(1.0, 1.0)
    assert servos.controller.fault is None


def test_slow_arm_of_which_nobody_tells_is_a_fault():
    servos = Servos("ur5")
    servos.run(1.6, 1.0)
    servos.run(1.0, 0.1, reported=1.0)
    assert servos.controller.fault is not None


def test_paused_arm_keeps_its_setpoint_where_it_is():
    servos = Servos("ur5")
    servos.run(1.6, 1.0)
    servos.controller.pause = "driver is paused"
    servos.run(0.5, 0.0, reported=PAUSE_SPEED)
    assert servos.controller.fault is None
    assert max(servos.errors[-50:]) < 0.02
    servos.controller.pause = None
    count = len(servos.errors)
    servos.run(1.0, 1.0)
    assert servos.controller.fault is None and servos.errors[count] < 0.02
    assert max(servos.speeds[-50:]) > 0.1


@pytest.fixture
def monitor():
    driver = load_driver(shipped_driver("ur5e"), robot("ur5e"))
    return DriverMonitor(driver, driver.interface("rad"), "/left/controller_manager")


def ready(monitor):
    safety, program = monitor.driver.conditions
    monitor.set_published({safety.topic, program.topic, monitor.driver.speed_scaling.topic})
    monitor.add_value(safety, 1)
    monitor.add_value(program, 1)
    monitor.add_speed_scaling(100.0, 0.0)
    monitor.add_controllers({"forward_position_controller": "active"})
    return safety, program


def test_what_nobody_publishes_is_not_watched_and_is_listed(monitor):
    assert monitor.refusal(0.0) is None and monitor.fault(0.0) is None
    listed = " ".join(monitor.unwatched(0.0))
    for name in ("safety mode", "program", "speed scaling", "controllers"):
        assert name in listed
    ready(monitor)
    assert monitor.refusal(0.0) is None and not monitor.unwatched(0.0)


def test_topic_without_a_message_is_a_refusal_and_one_that_ends_a_fault(monitor):
    safety, program = monitor.driver.conditions
    monitor.set_published({program.topic})
    assert f"no message on {program.topic} yet" in str(monitor.refusal(0.0))
    ready(monitor)
    monitor.set_published({safety.topic})
    fault = monitor.fault(0.0)
    assert fault is not None and fault.reason == DRIVER_NOT_READY
    assert f"nobody publishes {program.topic} any more; start ur_robot_driver" in str(fault)


def test_safety_stop_comes_before_its_consequences(monitor):
    safety, program = ready(monitor)
    monitor.add_value(program, 0)
    monitor.add_value(safety, 7)
    monitor.add_speed_scaling(0.0, 0.1)
    assert "safety mode is robot emergency stop" in str(monitor.refusal(0.1))
    assert "robot emergency stop" in str(monitor.pause(0.1)), "it is no pause that ends by itself"


def test_states_of_controllers_get_old(monitor):
    ready(monitor)
    monitor.add_controllers({"forward_position_controller": "inactive"}, 10.0)
    fault = monitor.fault(10.0)
    assert fault is not None and fault.reason == CONTROLLER_INACTIVE
    assert str(fault).endswith("forward_position_controller -c /left/controller_manager")
    assert monitor.fault(20.0) is None and "controllers" in monitor.unwatched(20.0)[0]


def test_speed_drops_at_once_and_rises_slowly(monitor):
    ready(monitor)
    for clock, value, speed in (
        (1.0, 100.0, 1.0),
        (1.01, 10.0, 0.1),
        (1.02, 100.0, 0.1),
        (1.5, 100.0, 0.58),
        (1.51, 0.0, PAUSE_SPEED),
        (9.0, 100.0, PAUSE_SPEED),
        (9.5, 250.0, 0.55),
        (11.0, 100.0, 1.0),
    ):
        monitor.add_speed_scaling(value, clock)
        assert np.isclose(monitor.speed(clock), speed), clock
    for wrong in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="speed scaling is"):
            monitor.add_speed_scaling(wrong, 12.0)


def test_speed_scaling_that_came_periodically_is_missed(monitor):
    ready(monitor)
    assert monitor.fault(100.0) is None, "it may be published only when it changes"
    for k in range(10):
        monitor.add_speed_scaling(100.0, 200.0 + 0.01 * k)
    assert monitor.fault(200.5) is None
    assert "for 1.4 s; start ur_robot_driver" in str(monitor.fault(201.5))

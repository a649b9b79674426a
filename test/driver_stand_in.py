"""A stand-in for ur_robot_driver: standard messages, position servos that scale their time."""

from __future__ import annotations

import math
import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from node_probe import STATES, state
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray, String, UInt8

COMMANDS = "/forward_position_controller/commands"
STATUS = "/io_and_status_controller"
SCALING = "/speed_scaling_state_broadcaster/speed_scaling"
CONTROLLER, OTHER = "forward_position_controller", "scaled_joint_trajectory_controller"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NORMAL, PROTECTIVE_STOP = 1, 3
SERVO_TIME = 0.04  # [s] in which a servo goes most of the way to its setpoint
REPORT_PERIOD = 0.01  # [s] of the speed scaling
STATES_PERIOD = 0.1  # [s] of the states of controllers, once a second in the real one
GAP = 0.1  # [s] without a command, after which the next one is the first again


class DriverStandIn:
    """Arm and driver; `step` is one control period.

    Attributes:
        now: time by the clock of the driver [s].
        q: (n,) measured position [rad].
        first_steps: distance of the arm from each command that is the first to be executed after a
            gap, or that was there when the driver began to execute commands [rad].
        setpoint: (n,) newest command of the active controller, None if there is none.
    """

    def __init__(self, node, robot):
        self.node, self.robot = node, robot
        self.publishers = {
            name: node.create_publisher(kind, topic, qos)
            for name, kind, topic, qos in (
                ("joints", JointState, STATES, 10),
                ("program", Bool, f"{STATUS}/robot_program_running", LATCHED),
                ("safety", UInt8, f"{STATUS}/safety_mode", LATCHED),
                ("scaling", Float64, SCALING, 10),
                ("diagnostics", DiagnosticArray, "/diagnostics", 10),
                ("description", String, "/robot_description", LATCHED),
            )
        }
        self.subscription, self.now = None, time.time()
        self.first_steps, self.commands = [], []
        self.due = dict.fromkeys(("scaling", "diagnostics"), 0.0)
        self.restore()

    def restore(self):
        """Return to a driver that is ready, with the arm at home."""
        self.q, self.qd = self.robot.home.copy(), np.zeros(self.robot.n)
        self.setpoint, self.last_command, self.was_executing = None, -math.inf, False
        self.names, self.order, self.clock_offset = list(self.robot.joint_names), None, 0.0
        self.scaling, self.publishes_scaling, self.publishes_joints = 1.0, True, True
        self.publishes_controllers, self.obeys = True, True
        self.states = {CONTROLLER: "active", OTHER: "inactive", "io": "active"}
        self.change = lambda message: message
        self.other_messages = []  # joint states of other devices
        self.manager = "controller_manager"  # its name in diagnostics
        self.first_steps.clear()
        self.commands.clear()
        self.set_program(True)
        self.set_safety(NORMAL)
        self.listen(True)

    def listen(self, listens):
        if listens and self.subscription is None:
            self.subscription = self.node.create_subscription(
                Float64MultiArray, COMMANDS, self.on_command, 10
            )
        elif not listens and self.subscription is not None:
            self.node.destroy_subscription(self.subscription)
            self.subscription = None

    def set_program(self, runs):
        """Run or stop the program; the real driver (de)activates its controller with it."""
        self.program = runs
        self.publishers["program"].publish(Bool(data=runs))

    def set_safety(self, mode):
        self.safety = mode
        self.publishers["safety"].publish(UInt8(data=mode))

    def switch(self, active):
        """Activate this or the other controller; a controller starts without a command."""
        self.states |= {CONTROLLER: "active" if active else "inactive"}
        self.states |= {OTHER: "inactive" if active else "active"}
        self.setpoint = None
        self.due["diagnostics"] = 0.0

    @property
    def executes(self):
        """Whether commands reach the motors."""
        ready = self.program and self.safety == NORMAL and self.scaling > 0 and self.obeys
        return ready and self.states.get(CONTROLLER) == "active"

    def on_command(self, message):
        now, command = self.now, np.array(message.data)
        assert command.shape == self.q.shape and np.isfinite(command).all()
        self.commands.append(command)
        if self.states.get(CONTROLLER) != "active":
            return
        if now - self.last_command > GAP and self.executes:
            self.first_steps.append(float(np.abs(command - self.q).max()))
        self.setpoint, self.last_command = command, now

    def step(self, waits):
        """Move the arm by one period, and publish what is due.

        Args:
            waits: whether time stands still while the arm waits for a command, so that a busy
                machine is no slow driver; else time is that of this machine.
        """
        dt = 1 / self.robot.rate
        self.now = now = self.now + dt if waits else max(self.now + dt, time.time())
        before, executes = self.q, self.executes
        if executes and self.setpoint is not None:
            if not self.was_executing:
                self.first_steps.append(float(np.abs(self.setpoint - self.q).max()))
            progress = 1 - math.exp(-self.scaling * dt / SERVO_TIME)
            most = self.scaling * self.robot.velocity * dt
            self.q = self.q + np.clip(progress * (self.setpoint - self.q), -most, most)
        self.was_executing = executes
        self.qd = (self.q - before) / dt
        if self.publishes_joints:
            self.publish_joints()
        if self.is_due("scaling", REPORT_PERIOD, now) and self.publishes_scaling:
            self.publishers["scaling"].publish(Float64(data=100 * self.scaling))
        if self.is_due("diagnostics", STATES_PERIOD, now) and self.publishes_controllers:
            self.publish_controllers()

    def is_due(self, name, period, now):
        if now < self.due[name]:
            return False
        self.due[name] = max(self.due[name] + period, now)
        return True

    def publish_joints(self):
        stamp = round(1e9 * (self.now + self.clock_offset))
        message = state(stamp, self.q, self.qd, self.names)
        message.effort = [0.0] * len(self.names)
        if self.order is not None:
            for values in ("name", "position", "velocity", "effort"):
                column = list(getattr(message, values))
                setattr(message, values, [column[i] for i in self.order])
        self.publishers["joints"].publish(self.change(message))
        for other in self.other_messages:
            self.publishers["joints"].publish(other)

    def publish_controllers(self):
        """Publish the states of the controllers as the controller manager does."""
        values = [KeyValue(key=f"{name}.state", value=s) for name, s in self.states.items()]
        values.append(KeyValue(key=f"{CONTROLLER}.execution_time", value="Avg: 1.0"))
        name = f"{self.manager}: Controllers Activity"
        status = DiagnosticStatus(name=name, hardware_id="ros2_control", values=values)
        self.publishers["diagnostics"].publish(DiagnosticArray(status=[status]))

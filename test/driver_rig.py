"""A node with the stand-in of its driver, and targets that move two joints."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import yaml
from driver_stand_in import DriverStandIn
from node_probe import CHECKPOINTS, ROOT, TARGETS
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import target_to_message, to_stamp
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.robots.robot import load_robot

PATIENCE = 0.5  # [s] for which the arm waits for a command
TARGET_PERIOD = 1 / 30  # [s]
# driver and node share this process, so joint states may stay away while others run
PATIENT = {"joint_state_timeout": 1.0, "max_gap": 1.0, "simulated_time": True}


class Rig:
    """A node with the stand-in of its driver, and targets that move two joints."""

    def __init__(self, start_node, arm, folder):
        self.robot = load_robot(arm)
        driver = yaml.safe_load((ROOT / "config" / "drivers" / f"{arm}.yaml").read_text())
        # the message of the safety mode is not installed here
        driver["conditions"][0] |= {"type": "std_msgs/msg/UInt8", "field": "data"}
        file = Path(folder) / f"{arm}.yaml"
        file.write_text(yaml.safe_dump(driver))
        self.probe = start_node(
            InverseDynamicsNode,
            arm=arm,
            checkpoint=CHECKPOINTS / f"{arm}_position",
            driver=file,
            **PATIENT,
        )
        self.node = self.probe.tested_node
        self.driver = DriverStandIn(self.probe.node, self.robot)
        self.targets = self.probe.node.create_publisher(JointTrajectory, TARGETS, 10)
        self.client = self.probe.node.create_client(SetBool, "/inverse_dynamics/engage")
        self.next_target = 0.0

    def run_until(self, condition, seconds=20.0):
        """Run until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.node.hold_reason, self.node.fault)
            if self.probe.failure is not None:
                raise self.probe.failure
            self.driver.step(self.is_driven)
            if self.driver.now > self.next_target:
                self.next_target = self.driver.now + TARGET_PERIOD
                self.publish_target()
            self.wait_for_command()

    @property
    def is_driven(self):
        """Whether a command must come for each joint state."""
        controller = self.node.controller
        response = controller._response
        is_stopping = response is not None and not response.is_over
        is_controlled = controller.plan is not None and (controller.engaged or is_stopping)
        return is_controlled and self.driver.publishes_joints

    def wait_for_command(self):
        """Wait for a control period, and longer for a command that must come."""
        count, end = len(self.driver.commands), time.monotonic() + 1 / self.robot.rate
        while (left := end - time.monotonic()) > 0:
            self.probe.executor.spin_once(timeout_sec=left)
        while self.is_driven and len(self.driver.commands) == count:
            if time.monotonic() > end + PATIENCE:
                break
            self.probe.executor.spin_once(timeout_sec=0.01)

    def run(self, seconds):
        """Run for a time [s]."""
        end = self.driver.now + seconds
        self.run_until(lambda: self.driver.now > end)

    def publish_target(self):
        w, t = 2.5, self.driver.now
        q, qd = self.robot.home.copy(), np.zeros(self.robot.n)
        q[[0, 5]] += 0.25 * np.sin(w * t)
        qd[[0, 5]] = 0.25 * w * np.cos(w * t)
        target = Target(0.0, State(q, qd, np.zeros(self.robot.n)), 0.0)
        names = RobotNames.of(self.robot)
        self.targets.publish(target_to_message(target, names, to_stamp(round(1e9 * t))))

    def call(self, on):
        """Call the service; return its response."""
        self.run_until(self.client.service_is_ready)
        future = self.client.call_async(SetBool.Request(data=on))
        self.run_until(future.done)
        return future.result()

    def engage(self):
        """Engage as soon as that is possible."""
        self.run_until(lambda: self.call(True).success)

    def drive(self):
        """Engage, and drive until the arm moves."""
        self.engage()
        start = self.driver.q
        self.run_until(lambda: np.abs(self.driver.q - start).max() > 0.03)
        assert self.node.fault is None

    def refusal(self, part):
        """Return the response to a call that is refused with a reason."""
        watch = self.node.supervision
        self.run_until(lambda: part in f"{watch.topics.refusal()} {watch.driver.refusal()}")
        response = self.call(True)
        assert not response.success and part in response.message
        return response.message

    def latched(self, *parts):
        """Wait for a fault; return how many commands had come once it was there."""
        self.run_until(lambda: self.node.fault is not None)
        part = next((p for p in parts if p in self.node.fault), parts[0])
        self.run(0.1)
        count = len(self.driver.commands)
        self.run(0.15)
        assert part in str(self.node.fault), "a fault stays until the arm is engaged again"
        return count

    def restore(self):
        """Return to a disengaged arm at home, and a driver that is ready."""
        self.run_until(lambda: self.call(False).success)
        self.run_until(lambda: self.node.controller.plan is None)
        self.run(0.1)  # commands on their way
        self.driver.restore()
        self.node.controller.reset()  # the arm was put somewhere else
        self.run_until(lambda: self.node.fault is None)
        monitor = self.node.supervision.driver.monitor
        self.run_until(lambda: monitor.refusal(time.monotonic()) is None)

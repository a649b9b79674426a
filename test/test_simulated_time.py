"""Nodes with `use_sim_time`: stamps and ages are those of /clock, watchdogs those of real time."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import EFFORT, MODEL, STATES, TARGETS, UR5, UR5_NAMES, state
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState, PointCloud2
from servo_board import ServoBoard
from std_msgs.msg import Float64MultiArray, Header
from synthetic_person import FORWARD, with_noise
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.graph.graph import resolve
from invdyn_ros.nodes.dofbot import DofbotNode
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import landmarks_to_cloud, target_to_message, to_seconds, to_stamp
from invdyn_ros.nodes.retarget import RetargetNode

EPOCH = 5_000.0  # [s] of simulated time
PATIENT = {"joint_state_timeout": 0.5, "max_gap": 1.0}  # this process also runs the arm
PERIOD = 1 / 125  # [s] of joint states, in simulated time


class SimulatedClock:
    """Publisher of a time that runs at another rate than that of the machine."""

    def __init__(self, probe, rate):
        self.probe, self.rate, self.start = probe, rate, time.monotonic()
        self.publisher = probe.advertise("/clock", Clock)

    def tick(self):
        """Publish the time and return it [ns]."""
        elapsed = self.rate * (time.monotonic() - self.start)
        nanoseconds = round(1e9 * (EPOCH + elapsed))
        self.publisher.publish(Clock(clock=to_stamp(nanoseconds)))
        return nanoseconds


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_arm_is_driven_by_simulated_time_and_stopped_by_real_time(start_node, rate):
    probe, commands = start_node(
        InverseDynamicsNode,
        [(EFFORT, Float64MultiArray)],
        **{**MODEL, "engaged": True, "use_sim_time": True, **PATIENT},
    )
    node, clock = probe.tested_node, SimulatedClock(probe, rate)
    states, targets = (
        probe.advertise(STATES, JointState),
        probe.advertise(TARGETS, JointTrajectory),
    )
    goal, still, q, qd = UR5.home + 0.1, np.zeros(6), UR5.home, np.zeros(6)
    end = time.monotonic() + 20
    while np.abs(q - goal).max() > 0.01:
        assert time.monotonic() < end and node.fault is None, (node.fault, node.hold_reason)
        stamp = clock.tick()
        if node.controller.plan is not None and node.controller.engaged:
            q, qd, _ = node.controller.plan.at(stamp * 1e-9)
        states.publish(state(stamp, q, qd))
        target = Target(stamp * 1e-9, State(goal, still, still), 0.0)
        targets.publish(target_to_message(target, UR5_NAMES, to_stamp(stamp)))
        probe.executor.spin_once(timeout_sec=PERIOD / rate)
    assert len(commands) > 20
    stopped = time.monotonic()
    probe.wait_until(lambda: node.fault is not None)  # simulated time stands still, too
    assert node.fault.startswith("joint states stopped") and time.monotonic() - stopped < 2.0


def test_age_of_landmarks_is_that_of_the_clock_of_their_stamps(start_node):
    probe = start_node(RetargetNode, use_sim_time=True)
    node, clock = probe.tested_node, SimulatedClock(probe, 3.0)
    clouds, states = (
        probe.advertise("/pose/landmarks", PointCloud2),
        probe.advertise(STATES, JointState),
    )
    states.publish(state(round(1e9 * EPOCH)))
    probe.wait_until(lambda: node.measured is not None)
    reasons, seeds = set(), itertools.count()

    def publish(nanoseconds):
        header = Header(stamp=to_stamp(nanoseconds))
        clouds.publish(landmarks_to_cloud(with_noise(FORWARD, next(seeds)), header))
        reasons.add(node.hold_reason)

    probe.wait_until(lambda: publish(clock.tick()) or node.last_target is not None)
    probe.wait_until(lambda: publish(clock.tick()) or node.hold_reason is None)
    assert "stale time" not in reasons
    probe.wait_until(
        lambda: (clock.tick() and publish(time.time_ns())) or "stale" in str(node.hold_reason)
    )


def test_simulated_graph_takes_the_clock_of_its_own_namespace():
    arguments = {"use_sim_time": "true", "namespace": "left", "camera": "none"}
    for spec in resolve("teleop", arguments):
        assert spec.parameters["use_sim_time"] is True and spec.remappings["/clock"] == "clock"
    for spec in resolve("teleop", {**arguments, "arm": "dofbot", "target": "real"}):
        assert spec.parameters["use_sim_time"] is True and "/clock" not in spec.remappings
    assert not any("use_sim_time" in s.parameters for s in resolve("teleop", {"camera": "none"}))


def test_missing_clock_is_named_and_diagnostics_go_on(start_node, capfd):
    probe, diagnostics = start_node(
        RetargetNode, [("/diagnostics", DiagnosticArray)], use_sim_time=True
    )
    log = []

    def is_named():
        log.append(capfd.readouterr().err)
        return "use_sim_time is true, but no time has come on /clock" in "".join(log)

    probe.wait_until(is_named)
    count = len(diagnostics)
    probe.wait_until(lambda: len(diagnostics) > count)


def test_joint_states_of_a_driver_have_simulated_stamps(start_node):
    probe, states = start_node(
        lambda: DofbotNode(ServoBoard(time.monotonic)), [(STATES, JointState)], use_sim_time=True
    )
    clock = SimulatedClock(probe, 1.0)
    probe.wait_until(lambda: clock.tick() and states and states[-1].header.stamp.sec >= EPOCH - 1)
    assert to_seconds(states[-1].header.stamp) < EPOCH + 30

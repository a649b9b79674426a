"""The live node as watchdog: it stops the arm when somebody is missing, or is there twice."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import EFFORT, MODEL, START, STATES, TARGETS, TICK, UR5, UR5_NAMES, Probe, state
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.cli import run_verb
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import target_to_message, to_stamp
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.start_condition import StartCondition
from invdyn_ros.nodes.topic_monitor import StampMonitor

PERIOD = 1 / 125  # [s]
# the arm and the tested node share this process, so joint states may stay away while others run
PATIENT = {"joint_state_timeout": 1.0, "max_gap": 1.0}


class RunningArm:
    """An arm without following error that publishes its joint states in real time."""

    def __init__(self, start_node, namespace="", remaps=None, tf_prefix="", **parameters):
        remaps = {"__ns": namespace or "/"} | (remaps or {})
        parameters |= MODEL | ({"tf_prefix": tf_prefix} if tf_prefix else {})
        self.probe, self.diagnostics = start_node(
            InverseDynamicsNode, [("/diagnostics", DiagnosticArray)], remaps, **parameters
        )
        self.node, self.commands, self.namespace = self.probe.tested_node, [], namespace
        self.names = [tf_prefix + name for name in UR5.joint_names]
        self.controller = self.listen()
        topic = self.node.resolve_topic_name("joint_states")
        self.states = self.probe.advertise(topic, JointState)
        self.q, self.qd, self.due = UR5.home.copy(), np.zeros(6), time.monotonic()

    def listen(self):
        return self.probe.node.create_subscription(
            Float64MultiArray, self.namespace + EFFORT, self.commands.append, 10
        )

    def run_until(self, condition, seconds=20.0):
        """Publish joint states until a condition holds, and return the time that it took [s]."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, (self.node.hold_reason, self.node.fault)
            if self.probe.failure is not None:
                raise self.probe.failure
            stamp, plan = time.time_ns(), self.node.controller.plan
            if plan is not None and self.node.controller.engaged:
                self.q, self.qd, _ = plan.at(stamp * 1e-9)
            self.states.publish(state(stamp, self.q, self.qd, self.names))
            self.due = max(self.due + PERIOD, time.monotonic())
            while (remaining := self.due - time.monotonic()) > 0:
                self.probe.executor.spin_once(timeout_sec=remaining)
        return time.monotonic() - start

    def engage(self, on=True):
        """Call the service while joint states are published; return its response."""
        client = self.probe.node.create_client(
            SetBool, f"{self.namespace}/inverse_dynamics/engage"
        )
        self.run_until(client.service_is_ready)
        future = client.call_async(SetBool.Request(data=on))
        self.run_until(future.done)
        return future.result()

    def moves(self):
        count = len(self.commands)
        self.run_until(lambda: len(self.commands) > count + 3)
        return self.node.fault is None


def start_arm(start_node, **parameters):
    arm = RunningArm(start_node, **parameters)
    arm.run_until(lambda: arm.node.hold_reason == "not engaged")
    assert not arm.commands
    return arm


@pytest.fixture
def arm(start_node):
    return start_arm(start_node, **PATIENT)


def engaged(arm):
    """Engage an arm once its joint states are fresh."""
    arm.run_until(lambda: arm.engage().success)
    assert arm.moves()


def test_missing_joint_states_stop_the_arm_until_it_is_engaged_again(start_node):
    arm = start_arm(start_node)
    engaged(arm)
    arm.diagnostics.clear()
    start = time.monotonic()
    arm.probe.wait_until(lambda: arm.node.fault is not None)
    assert time.monotonic() - start < 1.0  # the limit is 0.08 s; the rest is the load of a machine
    count = len(arm.commands)
    assert arm.node.fault.startswith("joint states stopped: 0.")
    assert "limit 0.08; after removing the cause: 'invdyn engage'" in arm.node.fault
    arm.probe.wait_until(lambda: arm.diagnostics)
    status = arm.diagnostics[0].status[0]
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, arm.node.fault)
    assert {v.key: v.value for v in status.values}["faults: joint states stopped"] == "1"
    arm.run_until(lambda: arm.node.controller.monitor.age() < 0.05)
    for _ in range(10):
        arm.run_until(lambda: arm.node.measured is not None)
    assert len(arm.commands) == count and arm.node.fault, "a fault is latched"
    engaged(arm)
    assert arm.node.fault is None and arm.node.diagnostic_values["faults: joint states stopped"]


def test_targets_of_two_publishers_are_not_followed(arm):
    engaged(arm)
    first = arm.probe.advertise(TARGETS, JointTrajectory)
    goal = UR5.home + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    still = np.zeros(6)

    def publish():
        target = Target(0.0, State(goal, still, still), 0.0)
        first.publish(target_to_message(target, UR5_NAMES, to_stamp(time.time_ns())))

    def follows():
        publish()
        return arm.node.hold_reason is None and not arm.node.controller.planner.refusal

    arm.run_until(follows)
    other = Probe()
    second = other.node.create_publisher(JointTrajectory, TARGETS, 10)
    arm.run_until(lambda: publish() or "two publishers" in str(arm.node.hold_reason))
    reason = "two publishers of targets: /probe, /probe"
    arm.run_until(lambda: publish() or arm.node.hold_reason == reason)
    arm.run_until(lambda: not arm.node.controller.plan.at(time.time()).qd.any())
    rest = arm.q.copy()
    other.node.destroy_publisher(second)
    arm.run_until(follows)
    assert np.abs(arm.q - rest).max() < 1e-3, "it starts again slowly"
    other.close()


def test_second_commander_and_a_missing_controller_are_faults(arm, capsys):
    assert run_engage_verb(arm) == 0 and arm.moves()
    other = Probe()
    second = other.node.create_publisher(Float64MultiArray, EFFORT, 10)
    arm.run_until(lambda: arm.node.fault is not None)
    assert arm.node.fault.startswith("several publishers of commands: 2 publishers, limit 1")
    arm.run_until(lambda: f"{EFFORT}: /inverse_dynamics, /probe; after" in arm.node.fault)
    count = len(arm.commands)
    assert run_engage_verb(arm) == 1 and len(arm.commands) == count
    assert "refused: several publishers of commands: 2" in capsys.readouterr().out
    other.node.destroy_publisher(second)
    arm.run_until(lambda: arm.engage().success)
    arm.probe.node.destroy_subscription(arm.controller)
    missing = f"no controller listens to commands: {EFFORT}: 0 subscribers"
    arm.run_until(lambda: str(arm.node.fault).startswith(missing))
    assert "no controller listens on" in arm.engage().message
    arm.listen()
    arm.run_until(lambda: arm.engage().success)
    doubled = rclpy.create_node("inverse_dynamics", context=other.context)
    namesakes = "two nodes of one name: /inverse_dynamics: 2 nodes"
    arm.run_until(lambda: str(arm.node.fault).startswith(namesakes))
    doubled.destroy_node()
    other.close()


def test_an_arm_in_a_namespace_is_driven_beside_another_arm(start_node):
    """The other arm has the names without namespace and prefix; a remapped driver is found."""
    remaps = {"joint_states": "driver/joint_states"}
    names = {"namespace": "/left", "tf_prefix": "left_", "remaps": remaps}
    arm = start_arm(start_node, **names, **PATIENT)
    assert arm.states.topic_name == "/left/driver/joint_states"
    other = Probe()
    other_arm = rclpy.create_node("inverse_dynamics", context=other.context)
    kinds = {EFFORT: Float64MultiArray, STATES: JointState, TARGETS: JointTrajectory}
    publishers = {topic: other_arm.create_publisher(kinds[topic], topic, 10) for topic in kinds}
    assert run_engage_verb(arm, "--namespace", "left") == 0
    targets = arm.probe.advertise(f"/left{TARGETS}", JointTrajectory)
    goal = UR5.home + np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0])

    def publish(publisher, prefix, q):
        target = Target(0.0, State(q, np.zeros(6), np.zeros(6)), 0.0)
        sent = RobotNames.of(UR5, NamesConfig(prefix))
        publisher.publish(target_to_message(target, sent, to_stamp(time.time_ns())))

    def arrives():
        publish(targets, "left_", goal)
        publish(publishers[TARGETS], "", -goal)
        publishers[STATES].publish(state(time.time_ns(), -goal))
        return np.abs(arm.q - goal).max() < 0.01

    arm.run_until(arrives)
    assert arm.node.fault is None and not arm.node.ignored_counts
    status = arm.diagnostics[-1].status[0]
    assert (status.name, status.message) == ("left/inverse_dynamics", "ok")
    second = other_arm.create_publisher(Float64MultiArray, f"/left{EFFORT}", 10)
    arm.run_until(lambda: "/left/inverse_dynamics" in str(arm.node.fault))
    assert "'invdyn engage --namespace left' or the service /left/inv" in arm.node.fault
    other_arm.destroy_publisher(second)
    other_arm.destroy_node()
    other.close()


def test_two_publishers_of_the_joint_states_of_one_arm_are_a_fault(arm):
    """A gripper that publishes its own joints on the topic is none."""
    engaged(arm)
    other = Probe()
    second = other.node.create_publisher(JointState, STATES, 10)
    gripper = JointState(name=["knuckle_joint"], position=[0.1])
    count = arm.node.ignored_counts[STATES] + 60
    arm.run_until(lambda: second.publish(gripper) or arm.node.ignored_counts[STATES] > count)
    assert arm.node.fault is None
    delay = 30_000_000  # [ns] by which the second driver stamps earlier
    arm.run_until(
        lambda: (
            second.publish(state(time.time_ns() - delay, arm.q, arm.qd))
            or arm.node.fault is not None
        )
    )
    assert arm.node.fault.startswith("two publishers of joint states: 2 publishers, limit 1")
    other.close()


def test_two_publishers_that_agree_are_found_by_the_rate_of_their_joint_states():
    """Also if they were there before this node, unless one alone was measured to be so fast."""
    for count, is_doubled in ((1, False), (2, True)):
        monitor = StampMonitor(UR5.rate)
        for k in range(40):
            for second in range(count):
                monitor.add(START + k * TICK + second * TICK // 3)
        assert monitor.is_doubled(2) == is_doubled
    fast = StampMonitor(UR5.rate)
    for k in range(40):
        fast.add(START + k * TICK // 4)
    assert not fast.is_doubled(1) and not fast.is_doubled(2)


def test_arm_that_starts_engaged_waits_until_other_commanders_are_discovered():
    waiting = StartCondition(True, earliest=1.2)
    engaged = [k * 0.04 for k in range(50) if waiting.is_met(k * 0.04)]
    assert engaged[0] == pytest.approx(1.2, abs=0.05)
    fast = StartCondition(True)
    assert fast.is_met(0.0) is False and any(fast.is_met(k * 0.04) for k in range(1, 15))


def run_engage_verb(arm, *options):
    """Run `invdyn engage` while joint states are published; return its exit code."""
    arm.run_until(lambda: arm.node.nodes_of_this_name() == 1)  # that of the last test is gone
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_verb("engage", [*options])))
    thread.start()
    arm.run_until(lambda: codes)
    thread.join()
    return codes[0]


def test_arm_that_starts_engaged_waits_for_its_controller(start_node):
    probe = start_node(InverseDynamicsNode, **MODEL, engaged=True)
    states, node = probe.advertise(STATES, JointState), probe.tested_node
    stamp = time.time_ns()

    def publish():
        states.publish(state(time.time_ns()))
        return "no controller listens on" in str(node.hold_reason)

    probe.wait_until(publish)
    assert not node.controller.engaged and time.time_ns() > stamp
    probe.subscribe(EFFORT, Float64MultiArray)
    probe.wait_until(lambda: publish() or node.controller.plan is not None)
    assert node.fault is None

"""Simulator node: rate, brakes, reset, pause and lockstep."""

from __future__ import annotations

import time

import numpy as np
import pytest
from node_probe import EFFORT, SIMULATED, STATES, TICK, UR5, stamps
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from invdyn_ros.nodes.messages import command_to_message, to_nanoseconds
from invdyn_ros.nodes.simulator import SimulatorNode


def test_simulator_publishes_at_the_rate_of_the_arm_and_brakes_without_commands(start_node):
    probe, joint_states, clock = start_node(
        SimulatorNode, [(STATES, JointState), ("/clock", Clock)], **SIMULATED
    )
    probe.wait_until(lambda: joint_states)
    start, first = time.monotonic(), stamps(joint_states[-1:])[0]
    probe.wait_until(lambda: stamps(joint_states[-1:])[0] >= first + 60 * TICK)
    assert time.monotonic() - start > 0.7 * 60 * TICK * 1e-9, "faster than real time"
    assert (
        TICK in np.diff(stamps(joint_states)) and not (np.diff(stamps(joint_states)) % TICK).any()
    )
    assert joint_states[0].header.frame_id == UR5.base_link
    assert joint_states[0].name == [*UR5.joint_names, *UR5.gripper.joint_names]
    assert (
        {len(m.position) for m in joint_states} == {len(m.velocity) for m in joint_states} == {8}
    )
    assert np.ptp([m.position for m in joint_states], axis=0).max() < 1e-3, "the brakes slip"
    assert probe.tested_node.hold_reason == "no command: brakes on"
    assert {to_nanoseconds(m.clock) for m in clock} & set(stamps(joint_states))


@pytest.mark.parametrize("values", [[float("nan")] * 6, [0.0] * 5])
def test_simulator_ignores_invalid_command(start_node, values, capfd):
    probe, log = start_node(SimulatorNode, **SIMULATED), []
    publisher = probe.advertise(EFFORT, Float64MultiArray)

    def is_refused():
        publisher.publish(Float64MultiArray(data=values))  # again: the reader may match late
        log.append(capfd.readouterr().err)
        return "expected 6 numbers" in "".join(log)

    probe.wait_until(is_refused)
    assert probe.tested_node.command is None


def test_simulator_restarts_on_reset_and_stops_on_pause(start_node):
    probe, joint_states = start_node(SimulatorNode, [(STATES, JointState)], **SIMULATED)
    probe.wait_until(lambda: len(joint_states) > 10)
    assert probe.call_service(Trigger, "/sim/reset", Trigger.Request()).success
    probe.wait_until(lambda: (np.diff(stamps(joint_states)) < 0).any())
    assert (
        probe.call_service(SetBool, "/sim/pause", SetBool.Request(data=True)).message == "paused"
    )
    paused, ticks = time.monotonic(), probe.tested_node.physics.ticks
    probe.wait_until(lambda: time.monotonic() > paused + 0.3)
    assert probe.tested_node.physics.ticks <= ticks + 1  # the tick in progress ends
    probe.call_service(SetBool, "/sim/pause", SetBool.Request(data=False))
    probe.wait_until(lambda: joint_states and stamps(joint_states[-1:])[0] > (ticks + 3) * TICK)
    assert np.diff(stamps(joint_states)).max() < 0.2e9, "time jumped over the pause"


def test_lockstep_steps_once_per_command_with_the_right_stamp(start_node):
    probe, joint_states = start_node(
        SimulatorNode, [(STATES, JointState)], **SIMULATED, lockstep=True
    )
    commands = probe.advertise(EFFORT, Float64MultiArray)
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    probe.wait_until(lambda: len(joint_states) >= 3)
    assert set(stamps(joint_states)) == {0} and joint_states[0] == joint_states[-1], (
        "moved without an answer"
    )
    commands.publish(command_to_message(gravity, 123))
    probe.wait_until(lambda: probe.tested_node.command is not None)
    count = len(joint_states)
    probe.wait_until(lambda: len(joint_states) > count)
    assert set(stamps(joint_states)) == {0}, "took an answer that belongs to another state"
    for k in range(20):
        probe.wait_until(lambda k=k: stamps(joint_states[-1:]) == [k * TICK])
        assert probe.tested_node.physics.ticks == k
        commands.publish(command_to_message(gravity, k * TICK))
    commands.publish(command_to_message(np.empty(0), 20 * TICK))  # of a controller that stopped
    probe.wait_until(lambda: stamps(joint_states[-1:]) == [21 * TICK])
    assert set(np.diff(stamps(joint_states))) <= {0, TICK}

"""The simulator node: its rate, its brakes, reset and pause, and lockstep."""

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
    probe, heard, clock = start_node(
        SimulatorNode, [(STATES, JointState), ("/clock", Clock)], **SIMULATED
    )
    probe.wait_until(lambda: heard)
    began, first = time.monotonic(), stamps(heard[-1:])[0]
    probe.wait_until(lambda: stamps(heard[-1:])[0] >= first + 60 * TICK)
    assert time.monotonic() - began > 0.7 * 60 * TICK * 1e-9, "faster than real time"
    assert TICK in np.diff(stamps(heard)) and not (np.diff(stamps(heard)) % TICK).any()
    assert heard[0].name == [*UR5.joint_names, *UR5.gripper.joints]
    assert {len(m.position) for m in heard} == {len(m.velocity) for m in heard} == {8}
    assert np.ptp([m.position for m in heard], axis=0).max() < 1e-3, "the brakes slip"
    assert probe.tested_node.hold_reason == "no command: brakes on"
    assert {to_nanoseconds(m.clock) for m in clock} & set(stamps(heard))


@pytest.mark.parametrize("values", [[float("nan")] * 6, [0.0] * 5])
def test_simulator_ignores_invalid_command(start_node, values, capfd):
    probe, said = start_node(SimulatorNode, **SIMULATED), []
    speaker = probe.advertise(EFFORT, Float64MultiArray)

    def refused():
        speaker.publish(Float64MultiArray(data=values))  # again: the reader may match late
        said.append(capfd.readouterr().err)
        return "invalid command" in "".join(said)

    probe.wait_until(refused)
    assert probe.tested_node.command is None


def test_simulator_restarts_on_reset_and_stops_on_pause(start_node):
    probe, heard = start_node(SimulatorNode, [(STATES, JointState)], **SIMULATED)
    probe.wait_until(lambda: len(heard) > 10)
    assert probe.call_service(Trigger, "/sim/reset", Trigger.Request()).success
    probe.wait_until(lambda: (np.diff(stamps(heard)) < 0).any())
    assert (
        probe.call_service(SetBool, "/sim/pause", SetBool.Request(data=True)).message == "paused"
    )
    paused, ticks = time.monotonic(), probe.tested_node.physics.ticks
    probe.wait_until(lambda: time.monotonic() > paused + 0.3)
    assert probe.tested_node.physics.ticks <= ticks + 1  # that which was about to end
    probe.call_service(SetBool, "/sim/pause", SetBool.Request(data=False))
    probe.wait_until(lambda: heard and stamps(heard[-1:])[0] > (ticks + 3) * TICK)
    assert np.diff(stamps(heard)).max() < 0.2e9, "time jumped over the pause"


def test_lockstep_steps_once_per_command_with_the_right_stamp(start_node):
    probe, heard = start_node(SimulatorNode, [(STATES, JointState)], **SIMULATED, lockstep=True)
    commands = probe.advertise(EFFORT, Float64MultiArray)
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    probe.wait_until(lambda: len(heard) >= 3)
    assert set(stamps(heard)) == {0} and heard[0] == heard[-1], "moved without an answer"
    commands.publish(command_to_message(gravity, 123))
    probe.wait_until(lambda: probe.tested_node.command is not None)
    count = len(heard)
    probe.wait_until(lambda: len(heard) > count)
    assert set(stamps(heard)) == {0}, "took an answer that belongs to another state"
    for k in range(20):
        probe.wait_until(lambda k=k: stamps(heard[-1:]) == [k * TICK])
        assert probe.tested_node.physics.ticks == k
        commands.publish(command_to_message(gravity, k * TICK))
    assert set(np.diff(stamps(heard))) <= {0, TICK}

"""Inverse dynamics node: engaging, limits, lockstep, missing joint states and errors."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from arm_state_models import bridge
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import (
    CHECKPOINTS,
    DESIRED,
    EFFORT,
    MODEL,
    ROOT,
    START,
    STATES,
    TARGETS,
    TICK,
    TIMEOUT,
    UR5,
    UR5_NAMES,
    arguments,
    state,
)
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.command import IGNORED
from invdyn_ros.control.drift_monitor import LOAD, Drift
from invdyn_ros.control.faults import STOPPED
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.models.timeseries.registry import save_time_series_model
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import command_stamp, target_to_message, to_nanoseconds, to_stamp
from invdyn_ros.nodes.target_queue import TargetQueue

# joint states at the pace of the test
PACED = {**MODEL, "simulated_time": True, "joint_state_timeout": 60.0, "max_gap": 60.0}


def target(stamp, q):
    desired = State(q, np.zeros_like(q), np.zeros_like(q))
    return target_to_message(Target(stamp * 1e-9, desired, 0.0), UR5_NAMES, to_stamp(stamp))


def engage(probe, publish=None):
    """Engage the arm; `publish` publishes a joint state, since only fresh ones are accepted."""
    client = probe.node.create_client(SetBool, "/inverse_dynamics/engage")
    probe.wait_until(client.service_is_ready)
    while True:
        if publish is not None:
            publish()
        future = client.call_async(SetBool.Request(data=True))
        probe.wait_until(future.done)
        if future.result().success:
            return
        assert "no fresh joint states" in future.result().message


def test_difference_to_the_model_is_a_warning_until_it_is_gone(start_node):
    probe, _ = start_node(InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **PACED)
    states, node = probe.advertise(STATES, JointState), probe.tested_node
    stamps = itertools.count(START, TICK)
    engage(probe, lambda: states.publish(state(next(stamps))))
    difference = Drift(LOAD, 0.8, 0.3, "kg", UR5.joint_names[1])
    node.controller.actions.drift.drifts = [difference]
    states.publish(state(next(stamps)))
    probe.wait_until(lambda: node.notice is not None)
    assert node.notice == f"model drift: {difference}" and "+0.8 kg" in node.notice
    node.controller.actions.drift.drifts = []
    probe.wait_until(lambda: node.notice is None)
    assert node.diagnostic_values["model drift"] == "none"


def test_no_command_before_engaging_and_after_stopping(start_node):
    probe, commands = start_node(InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **PACED)
    states, node = probe.advertise(STATES, JointState), probe.tested_node

    def publish_state(stamp):
        states.publish(state(stamp))
        probe.wait_until(lambda: node.measured is not None and node.measured[0] == stamp)
        probe.wait_until(
            lambda: len(commands) >= (node.hold_reason not in ("not engaged", "stopped"))
        )

    stamps = itertools.count(START, TICK)
    publish_state(next(stamps))
    assert node.hold_reason == "not engaged" and not commands
    engage(probe, lambda: publish_state(next(stamps)))
    stamp = next(stamps)
    states.publish(state(stamp))
    probe.wait_until(lambda: commands)
    torque = np.array(commands[-1].data)
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    assert np.abs(torque - gravity).max() < 0.1 * np.abs(gravity).max()
    assert command_stamp(commands[-1]) == stamp
    assert probe.call_service(Trigger, "/inverse_dynamics/stop", Trigger.Request()).success
    while node.controller.plan is not None:  # the arm comes to rest
        publish_state(next(stamps))
    for _ in range(2):
        publish_state(next(stamps))
    count = len(commands)
    for _ in range(6):
        publish_state(next(stamps))
        assert node.hold_reason == "stopped"
    assert len(commands) == count, "a stop is latched"
    engage(probe, lambda: publish_state(next(stamps)))
    states.publish(state(next(stamps)))
    probe.wait_until(lambda: len(commands) > count)


def test_target_is_approached_within_limits_and_a_stale_one_is_held(start_node):
    topics = [
        (DESIRED, JointState),
        ("/diagnostics", DiagnosticArray),
        (EFFORT, Float64MultiArray),
    ]
    probe, desired, diagnostics, _ = start_node(InverseDynamicsNode, topics, **PACED)
    states, targets = (
        probe.advertise(STATES, JointState),
        probe.advertise(TARGETS, JointTrajectory),
    )
    engage(probe)
    goal = UR5.home + np.array([0.3, 0, 0, 0, -0.2, 0])
    arm_state = state(START)

    def follow(k):  # an arm without following error
        arm_state.header.stamp = to_stamp(START + k * TICK)
        states.publish(arm_state)
        probe.wait_until(
            lambda: desired and to_nanoseconds(desired[-1].header.stamp) == START + k * TICK
        )
        arm_state.position, arm_state.velocity = desired[-1].position, desired[-1].velocity
        return np.array(desired[-1].position), np.array(desired[-1].velocity)

    path, k = [follow(0)], 0
    while np.abs(path[-1][0] - goal).max() > 1e-3:
        k += 1
        assert k < 250, "two seconds were not enough"
        targets.publish(target(START + k * TICK, goal))
        probe.wait_until(lambda k=k: probe.tested_node.target_stamp == START + k * TICK)
        path.append(follow(k))
    q, qd = np.array(path).transpose(1, 0, 2)
    assert (np.abs(qd) <= UR5.velocity).all() and np.abs(qd).max() > 0.1
    assert (np.diff(q[:, 0]) >= -1e-9).all() and q[:, 0].max() <= goal[0] + 1e-6
    for later in range(k + 1, k + 60):
        position, _ = follow(later)
    assert np.abs(position - goal).max() < 2e-3
    assert probe.tested_node.hold_reason == "target is stale"
    probe.wait_until(
        lambda: any("target is stale" in s.message for m in diagnostics for s in m.status)
    )


def test_lockstep_repeats_the_command_of_a_state_and_waits_for_the_next_target(start_node):
    probe, commands = start_node(
        InverseDynamicsNode,
        [(EFFORT, Float64MultiArray)],
        **MODEL,
        engaged=True,
        lockstep=True,
    )
    states, targets = (
        probe.advertise(STATES, JointState),
        probe.advertise(TARGETS, JointTrajectory),
    )
    goal = UR5.home + 0.1
    targets.publish(target(START, goal))
    states.publish(state(START))
    probe.wait_until(lambda: commands)
    states.publish(state(START))
    probe.wait_until(lambda: len(commands) > 1)
    assert commands[0] == commands[1] and command_stamp(commands[0]) == START
    states.publish(state(START + TICK))
    probe.wait_until(lambda: probe.tested_node.measured[0] == START + TICK)
    assert all(command_stamp(c) == START for c in commands), "a command without a target"
    targets.publish(target(START + TICK, goal))
    probe.wait_until(lambda: command_stamp(commands[-1]) == START + TICK)
    planner = probe.tested_node.controller.planner
    targets.publish(target(START + TICK, goal + 1))  # repeated, so not looked at
    probe.wait_until(lambda: len(commands) >= 4)
    assert commands[-1] == commands[-2] and planner._target.state.q[0] == pytest.approx(goal[0])


def test_targets_that_are_repeated_early_or_from_before_a_reset_change_nothing():
    queue, q = TargetQueue(20.0, 125.0), np.zeros(6)
    frames = [Target(k / 20, State(q + k, q, q), 0.05) for k in range(200)]
    stamps = [round(k * 5e7) for k in range(200)]

    def followed(tick):
        stamped = queue.at(tick * TICK)
        return None if stamped is None else stamped[0] / 5e7

    assert followed(0) is None
    queue.add(stamps[0], frames[0])
    assert followed(0) == 0
    queue.add(stamps[1], frames[1])  # before the joint state of its time
    assert followed(6) == 0 and followed(7) == 1 and followed(12) == 1
    queue.add(stamps[1], frames[1])
    assert followed(12) == 1 and followed(13) is None
    queue.add(stamps[2], frames[2])
    assert followed(13) == 2 and queue.at(13 * TICK)[1] is frames[2]
    queue.add(stamps[0], frames[0])  # the next episode, before its first joint state
    assert followed(0) == 0
    queue.add(stamps[199], frames[199])  # repeated, from the episode before
    assert followed(0) == 0 and followed(7) is None


def test_joint_states_that_are_not_finite_get_no_command(start_node):
    probe, commands = start_node(
        InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **MODEL, engaged=True
    )
    states = probe.advertise(STATES, JointState)
    stamps = itertools.count(START, TICK)

    def is_ignored():
        states.publish(state(next(stamps), UR5.home * np.nan))
        return probe.tested_node.hold_reason == IGNORED

    probe.wait_until(is_ignored)
    assert not commands


def test_checkpoint_of_another_arm_ends_the_process_with_one_line_and_code_2():
    parameters = {"arm": "ur5", "checkpoint": CHECKPOINTS / "kuka_iiwa"}
    command = [sys.executable, "-m", "invdyn_ros.nodes.inverse_dynamics", *arguments(parameters)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("inverse_dynamics: ")
    assert "was trained for 'kuka_iiwa'" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("folder", "message"),
    [("damaged", "is damaged"), ("none", "no checkpoint folder"), (".", "meta.json is missing")],
)
def test_invalid_checkpoint_ends_the_node(run_until_error, tmp_path, folder, message):
    if folder == "damaged":
        shutil.copytree(CHECKPOINTS / "ur5", tmp_path / folder)
        os.truncate(tmp_path / folder / "model.safetensors", 100)
    line = run_until_error(InverseDynamicsNode, arm="ur5", checkpoint=tmp_path / folder)
    assert str(tmp_path) in line and message in line


def test_parameter_of_the_wrong_type_ends_the_node(run_until_error):
    line = run_until_error(InverseDynamicsNode, **MODEL, lockstep=3)
    assert "lockstep is 3; it must be a valid boolean" in line


def test_missing_joint_states_are_predicted_for_a_limited_time(start_node, tmp_path):
    save_time_series_model(bridge(), tmp_path / "bridge")
    parameters = {
        **MODEL,
        "state_predictor": tmp_path / "bridge",
        "max_dropout": 1.0,
        "simulated_time": True,
    }
    probe, commands = start_node(InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **parameters)
    states, node = probe.advertise(STATES, JointState), probe.tested_node
    stamps = itertools.count(START, TICK)
    engage(probe, lambda: states.publish(state(next(stamps))))
    last = next(stamps)
    states.publish(state(last))
    probe.wait_until(lambda: node.fault is not None)
    assert "joint states stopped" in node.fault
    probe.wait_until(lambda: len(commands) == 1 + node.dropout_controller.predicted_count)
    assert (
        0 < node.dropout_controller.predicted_count <= 125
    )  # samples of a second; a slow machine leaves some out
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    for command in commands:
        assert np.abs(np.array(command.data) - gravity).max() < 0.1 * np.abs(gravity).max()
    count = len(commands)
    states.publish(state(last + 200 * TICK))
    probe.wait_until(lambda: node.controller.fault is not None)
    assert node.controller.fault.reason == STOPPED and len(commands) == count


@pytest.mark.parametrize(
    ("path", "message"),
    [("no/such", "folder no/such"), ("dofbot", "is of joint_1")],
)
def test_state_predictor_of_another_arm_ends_the_node(
    run_until_error, tmp_path, monkeypatch, path, message
):
    monkeypatch.chdir(tmp_path)
    save_time_series_model(bridge("dofbot"), tmp_path / "dofbot")
    assert message in run_until_error(InverseDynamicsNode, **MODEL, state_predictor=path)

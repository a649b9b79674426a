"""Inverse dynamics node with a driver that takes trajectories instead of setpoints."""

import time

import numpy as np
import pytest
import yaml
from node_probe import CHECKPOINTS, DESIRED, STATES, TARGETS, TIMEOUT, UR5, state
from rclpy.action import ActionServer
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from trajectory_controller import TrajectoryController
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.trajectory_output import Waypoints
from invdyn_ros.nodes import trajectory_publisher
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import target_to_message, to_seconds, to_stamp
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.nodes.trajectory_publisher import GoalSender
from invdyn_ros.robots.driver import shipped_driver

TRAJECTORY = "/joint_trajectory_controller/joint_trajectory"
PATIENCE = 0.5  # [s] for which the arm waits for a command
MAX_DEVIATION = 1e-4  # [rad] of a trajectory from the plan


def to_waypoints(message):
    """Return the trajectory in a message, as its controller understands it."""
    assert list(message.joint_names) == list(UR5.joint_names)
    starts = [point.time_from_start for point in message.points]
    columns = (
        [getattr(point, name).tolist() for point in message.points]
        for name in ("positions", "velocities", "accelerations")
    )
    return Waypoints(
        to_seconds(message.header.stamp),
        np.array([start.sec + 1e-9 * start.nanosec for start in starts]),
        *map(np.array, columns),
    )


def test_controller_gets_the_verified_plan_and_stops_with_it(start_node, tmp_path):
    values = yaml.safe_load(shipped_driver("joint_trajectory").read_text())
    values["position"]["controller"] = ""  # no controller manager here
    file = tmp_path / "driver.yaml"
    file.write_text(yaml.safe_dump(values))
    probe, desired = start_node(
        InverseDynamicsNode,
        [(DESIRED, JointState)],
        arm="ur5",
        checkpoint=CHECKPOINTS / "ur5_position",
        driver=file,
        joint_state_timeout=0.6,
        max_gap=0.6,
        simulated_time=True,
    )
    assert not [p for p in probe.tested_node.publishers if "forward" in p.topic_name]
    sent = probe.subscribe(TRAJECTORY, JointTrajectory)
    states = probe.advertise(STATES, JointState)
    targets = probe.advertise(TARGETS, JointTrajectory)
    arm, now = TrajectoryController(UR5.home), time.time()
    executed, planned, received, names = [], [], [], RobotNames.of(UR5)

    def step(is_driven):
        """Pass one control period; once the arm is driven, time waits for its answers."""
        nonlocal now
        now = now + 1 / UR5.rate if is_driven else max(now + 1 / UR5.rate, time.time())
        while sent:
            received.append(to_waypoints(sent.pop(0)))
            arm.send(received[-1], now)
        q = arm.sample(now)
        executed.append((now, q))
        states.publish(state(round(1e9 * now), q, arm.last[1]))
        phase = 3 * (now - executed[0][0])
        still = np.zeros(6)
        aim = State(UR5.home + 0.2 * np.sin(phase), still, still)
        targets.publish(
            target_to_message(Target(now, aim, 0.0), names, to_stamp(round(1e9 * now)))
        )
        end = time.monotonic() + 1 / UR5.rate
        while (left := end - time.monotonic()) > 0:
            probe.executor.spin_once(timeout_sec=left)
        while is_driven and not desired and time.monotonic() < end + PATIENCE:
            probe.executor.spin_once(timeout_sec=0.01)
        planned.extend(desired)
        desired.clear()

    client = probe.node.create_client(SetBool, "/inverse_dynamics/engage")
    probe.wait_until(client.service_is_ready)
    is_engaged, deadline = False, time.monotonic() + TIMEOUT
    while not is_engaged:  # refused while joint states come late on a busy machine
        assert time.monotonic() < deadline
        for _ in range(30):
            step(False)
        response = client.call_async(SetBool.Request(data=True))
        while not response.done():
            step(False)
        is_engaged = response.result().success
    for _ in range(100):
        step(True)
    assert np.ptp([q for _, q in executed], axis=0).min() > 0.05
    assert probe.tested_node.fault is None and arm.refused == 0
    # the trajectory that is newest at the time of a desired state has it
    starts = np.array([waypoints.start for waypoints in received])
    errors = []
    for message in planned:
        stamp = to_seconds(message.header.stamp)
        newest = received[np.searchsorted(starts, stamp + 1e-6) - 1]
        follower = TrajectoryController(UR5.home)
        follower.send(newest, newest.start)
        errors.append(np.abs(follower.sample(stamp) - np.array(message.position)).max())
    assert len(errors) > 70 and max(errors) < MAX_DEVIATION
    # nothing more comes: the arm stops where its last plan ends
    end = arm.sample(now + 2.0)
    assert np.abs(end - arm.sample(now + 1.0)).max() == 0.0


def test_action_without_its_messages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(trajectory_publisher, "interface_type", lambda _: None)
    with pytest.raises(ValueError, match="needs control_msgs; install ros-") as info:
        GoalSender(None, "arm/follow_joint_trajectory")
    assert "\n" not in str(info.value)


def test_goals_of_an_action_are_verified_plans(start_node, tmp_path):
    """Where its messages are installed, as beside ROS from packages."""
    kind = pytest.importorskip("control_msgs.action").FollowJointTrajectory
    action, goals, now = "/arm/follow_joint_trajectory", [], 0.0
    file = tmp_path / "driver.yaml"
    position = {"topic": action, "takes_goals": True}
    file.write_text(yaml.safe_dump({"package": "the driver", "position": position}))
    probe = start_node(
        InverseDynamicsNode,
        arm="ur5",
        checkpoint=CHECKPOINTS / "ur5_position",
        driver=file,
        joint_state_timeout=0.6,
        max_gap=0.6,
    )
    states = probe.advertise(STATES, JointState)
    targets = probe.advertise(TARGETS, JointTrajectory)
    client = probe.node.create_client(SetBool, "/inverse_dynamics/engage")
    arm, names = TrajectoryController(UR5.home), RobotNames.of(UR5)

    def execute(goal):
        goals.append(to_waypoints(goal.request.trajectory))
        arm.send(goals[-1], now)
        goal.succeed()
        return kind.Result()

    def step():
        nonlocal now
        now = time.time()
        states.publish(state(round(1e9 * now), arm.sample(now), arm.last[1]))
        still = np.zeros(6)
        aim = State(UR5.home + 0.2 * np.sin(3 * now), still, still)
        targets.publish(
            target_to_message(Target(now, aim, 0.0), names, to_stamp(round(1e9 * now)))
        )
        probe.executor.spin_once(timeout_sec=1 / UR5.rate)

    def engage():
        probe.wait_until(client.service_is_ready)
        future = client.call_async(SetBool.Request(data=True))
        while not future.done():
            step()
        return future.result()

    assert f"no controller listens on {action}" in engage().message
    server = ActionServer(probe.node, kind, action, execute)
    deadline = time.monotonic() + TIMEOUT
    start = arm.sample(time.time())
    while len(goals) < 20:
        assert time.monotonic() < deadline, probe.tested_node.fault
        if not probe.tested_node.controller.engaged:  # also after gaps on a busy machine
            engage()
        step()
    assert arm.refused == 0 and np.abs(arm.sample(now) - start).max() > 0.01
    assert not any(goal.qd[-1].any() for goal in goals), "each one ends at rest"
    server.destroy()

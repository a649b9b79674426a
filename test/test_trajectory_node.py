"""Inverse dynamics node with a driver that takes trajectories instead of setpoints."""

import time

import numpy as np
import yaml
from node_probe import CHECKPOINTS, DESIRED, STATES, TARGETS, TIMEOUT, UR5, state
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from trajectory_controller import TrajectoryController
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.trajectory_output import Waypoints
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import target_to_message, to_seconds, to_stamp
from invdyn_ros.nodes.robot_names import RobotNames
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

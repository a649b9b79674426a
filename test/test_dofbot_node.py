"""DofBot node: commands move the arm, and joint states have positions only."""

import subprocess
import sys
import time

import numpy as np
from node_probe import ROOT, STATES, TIMEOUT, arguments, stamps
from sensor_msgs.msg import JointState
from servo_board import ServoBoard
from std_msgs.msg import Float64MultiArray

from invdyn_ros.nodes.dofbot import DofbotNode
from invdyn_ros.robots.robot import load_robot

ROBOT = load_robot("dofbot")


def test_node_without_hardware_exits_with_one_line_and_code_2():
    command = [sys.executable, "-m", "invdyn_ros.nodes.dofbot", *arguments({"bus": 99})]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("dofbot: ") and "Traceback" not in result.stderr


def test_node_follows_commands_and_publishes_positions_only(start_node):
    board, q = ServoBoard(time.monotonic), [0.1, -0.1, 0.1, -0.1, 0.1]
    probe, states = start_node(lambda: DofbotNode(board), [(STATES, JointState)])
    arm_commands = probe.advertise("/forward_position_controller/commands", Float64MultiArray)
    gripper_commands = probe.advertise("/gripper/command", Float64MultiArray)

    def has_arrived():
        arm_commands.publish(Float64MultiArray(data=[9.0] * 5))  # refused
        arm_commands.publish(Float64MultiArray(data=q))
        gripper_commands.publish(Float64MultiArray(data=[0.03]))
        return states and np.allclose(states[-1].position, [*q, 0.015, 0.015], atol=2e-3)

    probe.wait_until(has_arrived)
    assert list(states[-1].name) == [*ROBOT.joint_names, *ROBOT.gripper.joint_names]
    assert not len(states[-1].velocity) and not len(states[-1].effort)
    assert 0 < time.time_ns() - stamps(states)[-1] < 10e9
    probe.tested_node.close()
    assert board.torque

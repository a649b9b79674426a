"""Landmarks of a person whose arm is followed, and the arms that follow it."""

import numpy as np
import pytest

from invdyn_ros.robots.robot import load_robot

ARMS = ("ur5", "dofbot", "kuka_iiwa")
DT = 0.05  # [s] between pictures

each_arm = pytest.mark.parametrize("robot", [load_robot(arm) for arm in ARMS], ids=ARMS)


def unit(vector):
    """The direction of a vector."""
    return np.asarray(vector) / np.linalg.norm(vector)


def body(upper, fore, lengths=(0.29, 0.26), yaw=0.0, offset=(0, 0, 0), visibility=1.0):
    """Landmarks (33, 4) of a person whose arms point along `upper` and `fore`, as they see it."""
    points = np.zeros((33, 3))
    points[[23, 24]] = [[0, 0.1, 0], [0, -0.1, 0]]
    points[[11, 12]] = [[0, 0.18, 0.45], [0, -0.18, 0.45]]
    points[[13, 14]] = points[[11, 12]] + lengths[0] * unit(upper)
    points[[15, 16]] = points[[13, 14]] + lengths[1] * unit(fore)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return np.column_stack([points @ turn.T + offset, np.full(33, visibility)])


def wave(t, pace=0.8):
    """Directions of an arm that moves smoothly in front of the person, `pace` times a second."""
    a = 2 * np.pi * pace * 0.3 * t
    upper = [0.5 + 0.3 * np.sin(a), 0.3 * np.cos(1.3 * a), -1.0 + 0.3 * np.cos(a)]
    fore = [1.0 + 0.2 * np.sin(1.7 * a), 0.3 * np.sin(0.9 * a), 0.3 * np.cos(1.1 * a)]
    return unit(upper), unit(fore)


def settle(retargeter, landmarks, start=0.0, seconds=6.0):
    """Show the same landmarks until the arm rests; give the last result."""
    for i in range(int(seconds / DT)):
        result = retargeter(landmarks, start + i * DT)
    return result


FORWARD = body([0, 0, -1], [1, 0, 0])  # stands with the forearms forward

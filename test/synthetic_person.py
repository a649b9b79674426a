"""Synthetic landmarks of a person, and the robot arms that follow the person."""

import numpy as np
import pytest

from invdyn_ros.robots.robot import load_robot

ARMS = ("ur5", "dofbot", "kuka_iiwa")
DT = 0.05  # [s] between images

each_arm = pytest.mark.parametrize("robot", [load_robot(arm) for arm in ARMS], ids=ARMS)


def unit(vector):
    """Return a vector scaled to length one."""
    return np.asarray(vector) / np.linalg.norm(vector)


def person_landmarks(upper, fore, lengths=(0.29, 0.26), yaw=0.0, offset=(0, 0, 0), visibility=1.0):
    """Return landmarks (33, 4) of a person with given directions of upper arm and forearm."""
    points = np.zeros((33, 3))
    points[[23, 24]] = [[0, 0.1, 0], [0, -0.1, 0]]
    points[[11, 12]] = [[0, 0.18, 0.45], [0, -0.18, 0.45]]
    points[[13, 14]] = points[[11, 12]] + lengths[0] * unit(upper)
    points[[15, 16]] = points[[13, 14]] + lengths[1] * unit(fore)
    rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return np.column_stack([points @ rotation.T + offset, np.full(33, visibility)])


def moving_arm_directions(t, frequency=0.8):
    """Return directions of an arm that moves smoothly in front of the person."""
    a = 2 * np.pi * frequency * 0.3 * t
    upper = [0.5 + 0.3 * np.sin(a), 0.3 * np.cos(1.3 * a), -1.0 + 0.3 * np.cos(a)]
    fore = [1.0 + 0.2 * np.sin(1.7 * a), 0.3 * np.sin(0.9 * a), 0.3 * np.cos(1.1 * a)]
    return unit(upper), unit(fore)


def with_noise(landmarks, seed):
    """Return landmarks as of a camera, which never gives the same ones twice."""
    noise = np.zeros_like(landmarks)
    noise[:, :3] = np.random.default_rng(seed).normal(0, 1e-7, (33, 3))
    return landmarks + noise


def follow_until_settled(retargeter, landmarks, start=0.0, seconds=6.0):
    """Repeat the same pose until the arm is at rest; return the last result."""
    for i in range(int(seconds / DT)):
        result = retargeter(with_noise(landmarks, i), start + i * DT)
    return result


FORWARD = person_landmarks([0, 0, -1], [1, 0, 0])  # standing with the forearms forward

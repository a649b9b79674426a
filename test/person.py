"""Landmarks of a person in any posture of the arms, as a camera would find them."""

import numpy as np


def unit(vector):
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


FORWARD = body([0, 0, -1], [1, 0, 0])  # stands with the forearms forward

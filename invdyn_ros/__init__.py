"""Learned inverse dynamics for robot arms: sources give a Trajectory, models map motion to actions."""

__version__ = "0.1.0"

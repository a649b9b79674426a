"""Learned inverse dynamics for robot arms: motion in, actions out."""

__version__ = "0.2.0"

"""Learned inverse dynamics of robot arms: maps motion to actions."""

__version__ = "0.2.0"

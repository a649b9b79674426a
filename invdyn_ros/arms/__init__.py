"""Simulated arms in PyBullet with rendered cameras, and the driver of the real DofBot."""

from invdyn_ros.native_output import STDERR, suppress_native_output

with suppress_native_output(STDERR):  # PyBullet prints its build time at import
    import pybullet  # noqa: F401

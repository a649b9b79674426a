"""The arms, simulated and real: commands enter; measured joint states and camera images leave."""

from invdyn_ros.native_output import STDERR, suppress_native_output

with suppress_native_output(STDERR):  # PyBullet prints its build time where it is first imported
    import pybullet  # noqa: F401

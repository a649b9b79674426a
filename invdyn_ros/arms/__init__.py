"""The arms, simulated and real: commands enter; measured joint states and camera images leave."""

from invdyn_ros.quiet import STDOUT, native_output_silenced

with native_output_silenced(STDOUT):  # PyBullet prints its build time where it is first imported
    import pybullet  # noqa: F401

"""Connection to a new PyBullet world, and the one import of PyBullet."""

from invdyn_ros.native_output import STDERR, STDOUT, suppress_native_output

with suppress_native_output(STDERR):  # PyBullet prints its build time at import
    import pybullet
    from pybullet_utils.bullet_client import BulletClient


def connect(gui: bool = False) -> BulletClient:
    """Create an empty PyBullet world; a process can have several.

    Args:
        gui: whether to open a window, which needs a display.
    """
    with suppress_native_output(STDOUT):
        return BulletClient(pybullet.GUI if gui else pybullet.DIRECT)

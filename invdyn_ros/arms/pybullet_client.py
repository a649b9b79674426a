"""A physics world of one's own: nothing enters, a PyBullet client leaves."""

import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.native_output import STDOUT, suppress_native_output


def connect(gui: bool = False) -> BulletClient:
    """Return a new, empty world; several can live in one process.

    Args:
        gui: open a window, which needs a display.
    """
    with suppress_native_output(STDOUT):
        return BulletClient(pybullet.GUI if gui else pybullet.DIRECT)

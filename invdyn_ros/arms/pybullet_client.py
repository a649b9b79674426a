"""Connection to a new PyBullet world."""

import pybullet
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.native_output import STDOUT, suppress_native_output


def connect(gui: bool = False) -> BulletClient:
    """Create an empty PyBullet world; a process can have several.

    Args:
        gui: whether to open a window, which needs a display.
    """
    with suppress_native_output(STDOUT):
        return BulletClient(pybullet.GUI if gui else pybullet.DIRECT)

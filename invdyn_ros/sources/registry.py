"""Registry of the sources of `invdyn collect`.

It is not in the package's `__init__`, so that a reader of recordings does not import PyBullet.
"""

from __future__ import annotations

from invdyn_ros.sources.lerobot_dataset import LeRobotSource
from invdyn_ros.sources.pendulum import PendulumSource
from invdyn_ros.sources.rendered_video import RenderedVideoSource
from invdyn_ros.sources.rosbag import BagSource
from invdyn_ros.sources.sequence_files import SequenceSource
from invdyn_ros.sources.simulated_motion import SimulatedMotionSource
from invdyn_ros.sources.source import Source
from invdyn_ros.sources.video import VideoSource

SOURCES: dict[str, type[Source]] = {
    "sim": SimulatedMotionSource,
    "bag": BagSource,
    "sequence": SequenceSource,
    "dataset": LeRobotSource,
    "pendulum": PendulumSource,
    "video": VideoSource,
    "rendered-video": RenderedVideoSource,
}
"""Name -> source. To add a source, write a module with a `Source` and add a line here."""

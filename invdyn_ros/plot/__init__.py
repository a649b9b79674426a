"""Pictures of a run: recordings and reports enter; MP4 films and PNG summaries leave."""

from invdyn_ros.plot.grasp_video import grasp_video
from invdyn_ros.plot.summary import grasp_summary, teleop_summary
from invdyn_ros.plot.teleop_video import teleop_video

__all__ = ["grasp_summary", "grasp_video", "teleop_summary", "teleop_video"]

"""Figures (PNG) and videos (MP4) of runs, evaluations and comparisons."""

from invdyn_ros.evaluation.plots.grasp_video import grasp_video
from invdyn_ros.evaluation.plots.summary import grasp_summary, teleop_summary
from invdyn_ros.evaluation.plots.teleop_video import teleop_video

__all__ = ["grasp_summary", "grasp_video", "teleop_summary", "teleop_video"]

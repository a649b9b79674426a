"""Report, video and plots of a run, written from its recorded messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from invdyn_ros.arms.pybullet_scene import nominal_scene
from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation import plots
from invdyn_ros.evaluation.grasp_report import grasp_report
from invdyn_ros.evaluation.teleop_report import teleop_report
from invdyn_ros.graph.shipped_weights import SHIPPED_POLICIES
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.nodes.recordings import RawMessages, to_recordings
from invdyn_ros.nodes.report import NUM_VIDEO_EPISODES, ReportNodeConfig
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import Robot


def write_run_report(
    config: ReportNodeConfig, robot: Robot, messages: RawMessages, log: Callable[[str], None]
) -> None:
    """Write the report of a run, with its video and its plots beside it.

    Args:
        config: parameters of the report node.
        robot: the arm.
        messages: recorded messages by topic.
        log: called with a line for each step that takes a while.
    """
    # the episode after the last one has begun meanwhile
    episodes = to_recordings(messages, robot, latency=not config.lockstep)[: config.episodes]
    file = Path(config.report)
    file.parent.mkdir(parents=True, exist_ok=True)
    write = _grasp_report if config.graph == "grasp_sim" else _teleop_report
    report = write(config, robot, episodes, log)
    file.write_text(json.dumps(report, indent=2) + "\n")
    log(f"wrote {file}; drawing the plots")
    draw = _draw_grasp if config.graph == "grasp_sim" else _draw_teleop
    draw(config, robot, episodes, report)
    log(f"wrote the plots in {file.parent}")


def _teleop_report(
    config: ReportNodeConfig, robot: Robot, episodes: list[Recording], _: Callable[[str], None]
) -> dict[str, Any]:
    model = load_runtime(config.checkpoint, "cpu", robot)
    return teleop_report(episodes[0], robot, model, config.side, _settings(config))


def _grasp_report(
    config: ReportNodeConfig, robot: Robot, episodes: list[Recording], log: Callable[[str], None]
) -> dict[str, Any]:
    unit = load_runtime(config.checkpoint, "cpu", robot).meta.action_unit
    scene = nominal_scene(config.arm, config.camera_pose)
    settings = _settings(config)
    settings |= {"policy": config.policy, "noise": config.noise, "seed": config.seed}
    if config.block_pose_model:
        settings |= {"block_pose_model": config.block_pose_model}
    baseline = _scripted_baseline(config, episodes, log)
    return grasp_report(episodes, robot, scene, unit, settings, baseline)


def _settings(config: ReportNodeConfig) -> dict[str, Any]:
    return {"arm": config.arm, "checkpoint": config.checkpoint, "lockstep": config.lockstep}


def _scripted_baseline(
    config: ReportNodeConfig, episodes: list[Recording], log: Callable[[str], None]
) -> list[bool] | None:
    """Return the successes of the scripted policy in the same episodes; None if not simulated."""
    simulated = all(episode.block_poses for episode in episodes)
    if config.policy not in SHIPPED_POLICIES or not simulated or config.camera_pose:
        return None
    from invdyn_ros.grasp.envs.scripted_baseline import scripted_successes  # starts a simulation

    log(f"running the scripted policy in the same {len(episodes)} episodes")
    run = config.arm, config.noise, config.seed, len(episodes)
    return scripted_successes(*run, config.checkpoint, config.block_pose_model)


def _draw_grasp(
    config: ReportNodeConfig, robot: Robot, episodes: list[Recording], report: dict[str, Any]
) -> None:
    folder = Path(config.report).parent
    scene = replace(load_scene(config.arm), marked=not config.block_pose_model)
    plots.grasp_video(episodes[:NUM_VIDEO_EPISODES], robot, scene, folder / "grasp.mp4")
    plots.grasp_summary(episodes, robot, scene, report, folder / "summary.png")


def _draw_teleop(
    config: ReportNodeConfig, robot: Robot, episodes: list[Recording], report: dict[str, Any]
) -> None:
    folder = Path(config.report).parent
    plots.teleop_video(episodes[0], robot, folder / "teleop.mp4")
    plots.teleop_summary(episodes[0], robot, report, folder / "summary.png")

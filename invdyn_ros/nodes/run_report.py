"""Report, video and plots of a run, written from its recorded messages."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.data.recording import JointSamples, Recording, join_recordings, split_episodes
from invdyn_ros.evaluation.run_info import COMMAND_VARIABLE, run_info
from invdyn_ros.graph.checkpoints import read_command_unit
from invdyn_ros.graph.shipped_weights import SHIPPED_POLICIES
from invdyn_ros.grasp.policies.tasks import GRASP
from invdyn_ros.nodes.message_log import MessageLog
from invdyn_ros.nodes.recordings import to_recordings
from invdyn_ros.nodes.report_config import ReportNodeConfig
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import Robot

if TYPE_CHECKING:
    from invdyn_ros.evaluation.pages.report_page import Section
    from invdyn_ros.evaluation.run_events import Event
    from invdyn_ros.robots.scene import Scene
    from invdyn_ros.teleop.retarget_config import RetargetConfig

Parts = list[tuple[str, Callable[[], None]]]  # name and function of what is written


NUM_VIDEO_EPISODES = 2  # first episodes of grasp_sim, whose images are recorded for the video


class RunReport:
    """Report of a run: first the measured figures, then all that takes longer.

    Attributes:
        values: keys and values of the report.
        media: pictures and videos that were written.
    """

    def __init__(
        self,
        config: ReportNodeConfig,
        robot: Robot,
        names: RobotNames,
        log: MessageLog,
        end_reason: str,
    ) -> None:
        """Start with the settings of the run.

        Args:
            config: parameters of the report node.
            robot: the arm.
            names: names of joints and frames in the messages.
            log: recorded messages.
            end_reason: why the run ended.
        """
        self.config, self.robot, self.names, self.log = config, robot, names, log
        self.file = Path(config.report)
        self.episodes: list[Recording] = []
        self.media: list[Path] = []
        self.values: dict[str, Any] = {
            "arm": config.arm,
            "checkpoint": config.checkpoint,
            "lockstep": config.lockstep,
            "ended_by": end_reason,
            "run": run_info(config.graph, os.environ.get(COMMAND_VARIABLE)),
        }

    def write(self) -> None:
        """Write the measured figures.

        Raises:
            OSError: the file cannot be written.
        """
        try:
            self.measure()
        except Exception as error:  # a report without figures is better than none
            self.values["error"] = f"no figures: {error!r}"
            raise
        finally:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, self.values)

    def later_parts(self) -> Parts:
        """Return what is added to the report afterwards, and the video and plots beside it."""
        page: Parts = [("page", self.write_page)]
        if not self.episodes:
            return []
        if self.config.graph == "grasp_sim":
            parts: Parts = [("comparison with the scripted policy", self._compare_grasp)]
            drawn: Parts = [("summary", self._grasp_summary), ("video", self._grasp_video)]
        elif self.config.graph == "gravity_compensation":
            return page
        else:
            parts = [("comparison with other models", self._compare_teleop)]
            drawn = [("summary", self._teleop_summary), ("video", self._teleop_video)]
        return [*([] if "error" in self.values else parts), *drawn, *page]

    @property
    def headline(self) -> str:
        """What the run achieved and what went wrong, in one line."""
        from invdyn_ros.evaluation.headlines import headline, headline_text

        return headline_text(headline(self.config.graph, self.values))

    def write_page(self) -> None:
        """Write the page beside the report, with what was recorded, drawn and filmed so far.

        A failure is a warning.
        """
        from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
        from invdyn_ros.evaluation.pages.sections import report_sections

        kind = self.config.graph

        def write() -> Path:
            sections = report_sections(kind, self.values) + self._recorded_sections
            return write_report_page(self.file, kind, self.values, sections, self.media)

        attempt_page(self.file, write)

    @cached_property
    def _recorded_sections(self) -> list[Section]:
        """Sections of the page that need the recordings; none without figures."""
        if "error" in self.values or not self.episodes:
            return []
        if self.config.graph == "teleop":
            from invdyn_ros.evaluation.pages.teleop_sections import teleop_run_sections

            config, (events,) = self._retarget_config(), self._events()
            return teleop_run_sections(self.episodes[0], self.robot, config, events)
        if self.config.graph == "gravity_compensation":
            from invdyn_ros.evaluation.pages.floating_sections import floating_run_sections

            return floating_run_sections(self.episodes[0], self.robot, self._events()[0])
        from invdyn_ros.evaluation.pages.grasp_sections import grasp_run_sections

        return grasp_run_sections(
            self.episodes, self.robot, self._scene(), self._events(), self.config.task
        )

    def measure(self) -> None:
        """Compute the measured figures."""
        config, robot = self.config, self.robot
        self.unit = unit = read_command_unit(Path(config.checkpoint), config.arm)
        target = load_scene(config.arm, config.blocks).target if config.blocks else 0
        parts = to_recordings(self.log, self.names, latency=not config.lockstep, target=target)
        for part in parts:
            part.obstacles = load_obstacles(config.obstacles) if config.obstacles else None
        if config.graph == "teleop":
            from invdyn_ros.evaluation.teleop_report import teleop_report

            self.episodes = [join_recordings(parts)]
            self.values |= teleop_report(self.episodes[0], robot, unit, self._retarget_config())
            self.values["restarts"] = len(parts) - 1
            if config.scene:
                from invdyn_ros.evaluation.teleop_grasps import grasp_figures

                self.values["grasps"] = grasp_figures(self.episodes[0], load_scene(config.arm))
            return
        if config.graph == "gravity_compensation":
            from invdyn_ros.evaluation.floating_report import floating_report

            recording = join_recordings(parts)
            self.values |= floating_report(recording, robot, unit)
            nothing = JointSamples.from_rows([])  # the desired motion is the measured one
            self.episodes = [replace(recording, desired=nothing)]
            return
        from invdyn_ros.evaluation.grasp_report import grasp_report
        from invdyn_ros.perception.hand_eye.camera_pose import nominal_scene

        if config.target == "real":
            complete, unfinished = split_episodes(join_recordings(parts))
        else:  # the episode after the last one has begun meanwhile
            complete = parts[:-1][: config.episodes]
            unfinished = parts[-1:] if len(complete) < config.episodes else []
        self.episodes = complete or unfinished or parts
        settings: dict[str, Any] = {
            "policy": config.policy,
            "noise": config.noise,
            "seed": config.seed,
        }
        if config.block_pose_model:
            settings |= {"block_pose_model": config.block_pose_model}
        self.complete = complete
        scene = nominal_scene(config.arm, config.camera_pose, config.blocks)
        self.values |= grasp_report(complete, robot, scene, unit, settings, unfinished)
        if config.task != GRASP:
            from invdyn_ros.evaluation.task_report import task_report

            is_scripted = config.policy == "scripted"
            self.values |= task_report(complete, scene, config.task, is_scripted)

    def _rewrite(self, values: dict[str, Any]) -> None:
        self.values |= values
        write_json(self.file, self.values)

    def _compare_teleop(self) -> None:
        from invdyn_ros.evaluation.teleop_report import compare_desired_states, tracking_errors
        from invdyn_ros.models.gravity import for_commands
        from invdyn_ros.models.runtime import load_runtime

        recording, config = self.episodes[0], self._retarget_config()
        model = for_commands(load_runtime(self.config.checkpoint, "cpu", self.robot))
        tracking = self.values["tracking_rms_rad"] | tracking_errors(recording, self.robot, model)
        desired_state = compare_desired_states(recording, self.robot, config)
        self._rewrite({"tracking_rms_rad": tracking, "desired_state": desired_state})

    def _compare_grasp(self) -> None:
        """Add the successes of the scripted policy in the same simulated episodes."""
        config = self.config
        simulated = self.complete and all(episode.block_poses for episode in self.complete)
        others = config.camera_pose or config.blocks
        if config.policy not in SHIPPED_POLICIES or not simulated or others:
            return
        from invdyn_ros.evaluation.grasp_report import success_statistics
        from invdyn_ros.grasp.envs.scripted_baseline import scripted_successes

        run = config.arm, config.noise, config.seed, len(self.complete)
        successes = scripted_successes(*run, config.checkpoint, config.block_pose_model)
        self._rewrite({"baseline_scripted": success_statistics(successes)})

    def _retarget_config(self) -> RetargetConfig:
        """Return the settings with which the person was followed."""
        from invdyn_ros.teleop.retarget_config import RetargetConfig

        config = self.config
        return RetargetConfig(
            side=config.side,
            tool=config.tool,
            mode=config.mode,
            scale=config.scale,
            mount=config.mount,
            calibrate=config.calibrate,
            tool_speed=config.tool_speed,
        )

    def _events(self) -> list[list[Event]]:
        """Return the events of each episode."""
        from invdyn_ros.evaluation.run_events import run_events

        return [run_events(episode, self.robot, self.unit) for episode in self.episodes]

    def _scene(self) -> Scene:
        scene = load_scene(self.config.arm, self.config.blocks)
        return replace(scene, marked=not self.config.block_pose_model)

    def _grasp_video(self) -> None:
        from invdyn_ros.evaluation import plots

        file = self.file.with_name("grasp.mp4")
        first = self.episodes[:NUM_VIDEO_EPISODES]
        plots.grasp_video(first, self.robot, self._scene(), file, self._events())
        self.media.append(file)

    def _grasp_summary(self) -> None:
        from invdyn_ros.evaluation import plots

        file, events = self.file.with_name("summary.png"), self._events()
        plots.grasp_summary(self.episodes, self.robot, self._scene(), self.values, file, events)
        self.media.append(file)

    def _teleop_video(self) -> None:
        from invdyn_ros.evaluation import plots

        file = self.file.with_name("teleop.mp4")
        config, (events,) = self._retarget_config(), self._events()
        scene = self._scene() if self.config.scene else None
        plots.teleop_video(self.episodes[0], self.robot, file, config, events, scene)
        self.media.append(file)

    def _teleop_summary(self) -> None:
        from invdyn_ros.evaluation import plots

        file = self.file.with_name("summary.png")
        config, (events,) = self._retarget_config(), self._events()
        plots.teleop_summary(self.episodes[0], self.robot, self.values, file, config, events)
        self.media.append(file)

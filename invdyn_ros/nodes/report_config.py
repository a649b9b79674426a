"""Parameters of the report node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.grasp.policies.tasks import Task


@dataclass(frozen=True)
class ReportNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        graph: name of the graph.
        arm: name of the arm, or FILE.yaml of an arm of a user.
        checkpoint: folder or .onnx file of the inverse-dynamics model.
        report: JSON file to write; empty: none.
        record: directory of a rosbag2 recording to write; empty: none.
        storage: format of the recording.
        duration: end of the run [s], of simulated time in lockstep; zero: no limit.
        video: video file of teleop, at whose end the run ends.
        loop: whether the video starts again at its end.
        side: arm of the person that is followed.
        tool: direction of the tool in teleop, as in RetargetConfig.
        mode: how places of the hand become places of the tool, as in RetargetConfig.
        scale: motion of the tool over that of the hand, as in RetargetConfig.
        mount: mounting of the arm, as in RetargetConfig.
        calibrate: whether the person makes a calibration gesture, as in RetargetConfig.
        tool_speed: speed limit of the tool in teleop, as in RetargetConfig [m/s].
        scene: whether teleop has a table with simulated blocks.
        lockstep: whether stamps are of simulated time.
        target: sim: episodes end where simulated time starts again; real: with their results.
        policy: policy of grasp_sim.
        noise: domain randomization level of the simulation.
        seed: seed of the run.
        episodes: number of episodes of the run; zero: no limit.
        obstacles: YAML file of the obstacles around the arm; empty: those of its entry.
        block_pose_model: folder of the block pose network; empty: blocks have markers.
        camera_pose: file of the calibrated camera; empty: the simulated camera's pose.
        blocks: file of the blocks; empty: the block of the arm's entry.
        task: grasp: one block; sort: every block to its goal; stack: all on top of each other.
    """

    graph: Literal["teleop", "grasp_sim", "gravity_compensation"] = "teleop"
    arm: str = "ur5"
    checkpoint: str = ""
    report: str = ""
    record: str = ""
    storage: Literal["sqlite3", "mcap"] = "sqlite3"
    duration: NonNegativeFloat = field(default=0.0, metadata=RECONFIGURABLE)
    video: str = ""
    loop: bool = False
    side: Literal["left", "right"] = "left"
    tool: Literal["free", "down", "hand"] = "free"
    mode: Literal["absolute", "relative"] = "absolute"
    scale: NonNegativeFloat = 0.0
    mount: Literal["auto", "table", "wall"] = "auto"
    calibrate: bool = False
    tool_speed: PositiveFloat = 1.0
    scene: bool = False
    lockstep: bool = False
    target: Literal["sim", "real"] = "sim"
    policy: Literal["scripted", "learned", "vision", "planned", "none"] = "scripted"
    noise: Literal["none", "default", "hard"] = "default"
    seed: NonNegativeInt = 0
    episodes: NonNegativeInt = field(default=1, metadata=RECONFIGURABLE)
    obstacles: str = ""
    block_pose_model: str = ""
    camera_pose: str = ""
    blocks: str = ""
    task: Task = "grasp"

    @property
    def has_blocks(self) -> bool:
        """Whether there are blocks to grasp."""
        return self.graph == "grasp_sim" or self.scene

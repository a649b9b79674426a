"""What the launch arguments are: text from a command line enters, checked values leave."""

from __future__ import annotations

from dataclasses import dataclass

from invdyn_ros.robots.registry import launchable_arms

ParameterValue = bool | int | float | str

FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class LaunchArgument:
    """One launch argument; its value is text on the command line."""

    name: str
    default: str
    description: str
    type: type = str
    choices: tuple[str, ...] = ()
    minimum: float | None = None

    def parse(self, text: str) -> ParameterValue:
        """Turn the text into a value.

        Raises:
            ValueError: not one of the choices, not of the kind, or below the minimum.
        """
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name}:={text} is not one of {', '.join(self.choices)}")
        if self.type is bool:
            return FLAGS[text]
        try:
            value: ParameterValue = self.type(text)
        except ValueError:
            noun = {int: "a whole number", float: "a number"}[self.type]
            raise ValueError(f"{self.name}:={text} is not {noun}") from None
        if self.minimum is not None and not float(value) >= self.minimum:
            raise ValueError(f"{self.name}:={text} is less than {self.minimum:g}")
        return value


ARMS = launchable_arms()
AUTO = ("auto", *FLAGS)

COMMON_ARGUMENTS = (
    LaunchArgument("arm", "ur5", "the arm to move", choices=ARMS),
    LaunchArgument(
        "target",
        "sim",
        "sim: PyBullet; real: the arm's driver (UR: start ur_robot_driver yourself)",
        choices=("sim", "real"),
    ),
    LaunchArgument("headless", "true", "false opens PyBullet's window", bool, tuple(FLAGS)),
    LaunchArgument(
        "checkpoint",
        "",
        "folder of 'invdyn train' or .onnx of 'invdyn export'; default: the arm's shipped one",
    ),
    LaunchArgument(
        "state_predictor",
        "",
        "folder of 'invdyn train' with a path model: drives on while joint states are missing",
    ),
    LaunchArgument("device", "auto", "where the model runs", choices=("auto", "cpu", "cuda")),
    LaunchArgument(
        "lockstep",
        "auto",
        "true: the simulator waits for each command, reproducible and as fast as the CPU allows; "
        "auto: true for a headless grasp_sim, else false",
        choices=AUTO,
    ),
    LaunchArgument(
        "engage",
        "auto",
        "start with the clutch closed; auto: true in simulation, false on a real arm",
        choices=AUTO,
    ),
    LaunchArgument("seed", "0", "of all that is random in the simulation", int, minimum=0),
    LaunchArgument("report", "", "FILE.json to write at the end, pictures and video beside it"),
    LaunchArgument("record", "", "new directory for a rosbag2 recording of the run"),
    LaunchArgument("duration", "0", "end after so many seconds; 0: no limit", float, minimum=0),
    LaunchArgument(
        "domain", "-1", "ROS domain id, 0 to 232; -1: that of the shell", int, minimum=-1
    ),
)

TELEOP_ARGUMENTS = (
    *COMMON_ARGUMENTS,
    LaunchArgument("video", "", "a video file instead of a camera, played at its own pace"),
    LaunchArgument("camera", "", "index of the camera (default 0), or none: /camera/image_raw"),
    LaunchArgument("loop", "false", "start the video again at its end", bool, tuple(FLAGS)),
    LaunchArgument("max_size", "480", "longest side of the image [px]", int, minimum=32),
    LaunchArgument(
        "pose_model", "", "pose_landmarker_*.task file; default: MediaPipe's own model"
    ),
    LaunchArgument("side", "left", "which arm of the person", choices=("left", "right")),
)

GRASP_SIM_ARGUMENTS = (
    *COMMON_ARGUMENTS,
    LaunchArgument(
        "policy",
        "scripted",
        "what decides the motion; none: whoever publishes /joint_target and /gripper/command",
        choices=("scripted", "learned", "vision", "planned", "none"),
    ),
    LaunchArgument(
        "policy_checkpoint",
        "",
        "folder of 'invdyn train_grasp' or 'train_planner', for a policy that learned",
    ),
    LaunchArgument(
        "block_pose_model",
        "",
        "folder of 'invdyn train_block_pose': sees blocks without markers, for every policy; "
        "default: the shipped one for policy:=vision, else markers",
    ),
    LaunchArgument("episodes", "1", "how many blocks", int, minimum=1),
    LaunchArgument("camera_pose", "", "file of 'invdyn calibrate'; default: the simulated one's"),
    LaunchArgument(
        "noise", "default", "of sensors, camera and plant", choices=("none", "default", "hard")
    ),
)

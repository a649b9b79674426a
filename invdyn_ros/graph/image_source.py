"""Where the images of a graph come from: a camera, a video file, or another node."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.graph.templates import ArgumentValues, NodeTemplate

CAMERA_PARAMETERS = (
    "video",
    "camera",
    "max_size",
    "loop",
    "lockstep",
    "wait_for_topics",
    "camera_info",
    "tf_prefix",
    "camera_frame",
)


def camera_template() -> NodeTemplate:
    """Return the camera node, which a graph has unless another node publishes the images."""
    return NodeTemplate("camera", CAMERA_PARAMETERS, lambda values: values["uses_camera_node"])


def resolve_images(values: ArgumentValues, default: str) -> None:
    """Check where the images come from, and the calibration of their camera.

    Args:
        values: launch arguments; gets `uses_camera_node`.
        default: camera without the arguments camera and video: an index, or none.

    Raises:
        ValueError: the arguments contradict each other, or a file is wrong.
    """
    video, camera, transport = values["video"], values["camera"], values["image_transport"]
    if video and camera:
        raise ValueError(f"video:={video} and camera:={camera} are both given; give one")
    is_file = camera.startswith("/") or "://" in camera
    if camera not in ("", "none") and not (camera.isdecimal() or is_file):
        raise ValueError(
            f"camera:={camera} is not the index of a camera (0, 1, ...), a device such as "
            "/dev/video0, a URL (http://, rtsp://) or none"
        )
    camera = camera or ("" if video else default)
    values["uses_camera_node"] = camera != "none"
    if transport != "raw" and values["uses_camera_node"]:
        raise ValueError(
            f"image_transport:={transport} needs camera:=none and another node that publishes "
            "the images"
        )
    if values["camera_info"]:
        _resolve_camera_info(values)
    if video:
        values["video"] = str(Path(video).absolute())
    elif values["uses_camera_node"]:
        values["camera"] = camera if is_file else int(camera)


def _resolve_camera_info(values: ArgumentValues) -> None:
    """Check the calibration file of the camera node."""
    from invdyn_ros.perception.calibration_file import read_calibration  # slow to import

    file = values["camera_info"]
    if not values["uses_camera_node"]:
        raise ValueError(f"camera_info:={file} needs camera:=N or video:=FILE, not camera:=none")
    read_calibration(file)  # raises before any node starts
    values["camera_info"] = str(Path(file).absolute())

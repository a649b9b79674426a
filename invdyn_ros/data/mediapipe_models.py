"""Networks of MediaPipe as .task files, made from the wheel of 0.10.21.

Later wheels hold no networks. Their tasks need a .task file: a zip file with the networks, which
are not compressed and say how their input is normalised.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.data.atomic_file import write_atomically

POSE_TASK, HAND_TASK = "pose_landmarker.task", "hand_landmarker.task"
WHEEL_VERSION = "0.10.21"  # the last one with the networks on all platforms
# of the platform whose wheel is the smallest; the networks are the same in all
WHEEL_PLATFORM = (
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
)
COMMAND = "invdyn install_models"


class Network(NamedTuple):
    """A network in the wheel, whose input is (pixel - mean) / std with pixels from 0 to 255."""

    path: str
    """In the folder mediapipe/modules."""
    sha256: str
    mean: float
    std: float


NETWORKS: dict[str, dict[str, Network]] = {
    POSE_TASK: {
        "pose_detector.tflite": Network(
            "pose_detection/pose_detection.tflite",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            127.5,
            127.5,
        ),
        "pose_landmarks_detector.tflite": Network(
            "pose_landmark/pose_landmark_full.tflite",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            0.0,
            255.0,
        ),
    },
    HAND_TASK: {
        "hand_detector.tflite": Network(
            "palm_detection/palm_detection_full.tflite",
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
            0.0,
            255.0,
        ),
        "hand_landmarks_detector.tflite": Network(
            "hand_landmark/hand_landmark_full.tflite",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
            0.0,
            255.0,
        ),
    },
}
"""Task file -> name in it -> network."""


def find_task_file(name: str) -> Path:
    """Return the path of an installed task file.

    Raises:
        FileNotFoundError: it is not installed.
    """
    for folder in _folders():
        if (folder / name).is_file():
            return folder / name
    folders = " or ".join(map(str, _folders()))
    raise FileNotFoundError(f"no {name} in {folders}; '{COMMAND}' makes it")


def install_task_files(wheel: Path | None = None) -> list[Path]:
    """Write all task files to the first folder that can be written and return their paths.

    Args:
        wheel: file of the wheel; None: pip downloads it from the index that it is configured for.

    Raises:
        ValueError: the download failed, or the wheel lacks a network.
    """
    folder = _writable_folder()
    with tempfile.TemporaryDirectory(prefix="invdyn_") as download:
        contents = read_task_files(wheel or download_wheel(Path(download)))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def download_wheel(folder: Path) -> Path:
    """Download the wheel with pip and return its path.

    Raises:
        ValueError: pip failed; the last line of its output is in the message.
    """
    words = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    words += ["--only-binary=:all:", *WHEEL_PLATFORM, "--dest", str(folder)]
    command = [sys.executable, "-m", *words, f"mediapipe=={WHEEL_VERSION}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        reason = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(
            f"pip cannot download the wheel of mediapipe {WHEEL_VERSION}: {reason}; "
            "give a file with --wheel FILE"
        )
    return wheels[0]


def read_task_files(wheel: Path) -> dict[str, bytes]:
    """Return the contents of all task files, from the networks in a wheel.

    Raises:
        ValueError: not a wheel, or one without these networks.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {
                name: _task_file(archive, wheel, networks) for name, networks in NETWORKS.items()
            }
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{wheel} is not a wheel: {error}") from error


def _task_file(archive: zipfile.ZipFile, wheel: Path, networks: dict[str, Network]) -> bytes:
    """Return the content of a task file."""
    from invdyn_ros.data.tflite_metadata import add_normalization  # only here is it needed

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as task:
        for name, network in networks.items():
            try:
                model = archive.read(f"mediapipe/modules/{network.path}")
            except KeyError:
                model = b""
            if hashlib.sha256(model).hexdigest() != network.sha256:
                raise ValueError(
                    f"{wheel} has not the {network.path} of mediapipe {WHEEL_VERSION}; "
                    "give a wheel of that version"
                )
            # a fixed date: the same networks give the same file
            entry = zipfile.ZipInfo(name)
            task.writestr(entry, add_normalization(model, network.mean, network.std))
    return content.getvalue()


def _folders() -> tuple[Path, Path]:
    """Return the folders of task files: of this environment, and of the user."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    environment = Path(sys.prefix, "share")
    return environment / "invdyn_ros" / "mediapipe", Path(home, "invdyn_ros", "mediapipe")


def _writable_folder() -> Path:
    """Create and return the first folder that can be written; a system's Python has none."""
    for folder in _folders():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    raise PermissionError(f"neither {' nor '.join(map(str, _folders()))} can be written")

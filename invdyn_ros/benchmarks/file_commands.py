"""Commands that read files, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from invdyn_ros.benchmarks.file_specimens import JOINTS

BAD_INPUT = 2  # exit code
_SEQUENCE = ("--position", "0:2", "--velocity", "2:4", "--unit", "N m", "--rate", "50")
COMMANDS: dict[str, tuple[str, ...]] = {
    **{
        name: ("collect", "sequence", f"{{}}/data.{name}", *_SEQUENCE, "--joints", *JOINTS)
        for name in ("npz", "hdf5", "zarr", "parquet")
    },
    **{
        f"rosbag2 {name}": ("collect", "bag", f"{{}}/{name}", "--effort-unit", "N m")
        for name in ("sqlite3", "mcap")
    },
    "urdf": ("collect", "bag", "{}/none", "--effort-unit", "N m", "--urdf", "{}/arm.urdf"),
    "dataset": ("collect", "dataset", "{}/own", "--arm", "made_up"),
    "lerobot dataset": ("collect", "dataset", "{}/lerobot", "--unit", "N m", "--arm", "made_up"),
    "mp4": ("collect", "video", "{}/video.mp4", "--labels", "none"),
    "network": ("export", "--checkpoint", "{}/network"),
    "train.yaml": ("train", "--config", "{}/train.yaml", "--data", "{}/none"),
}
"""Kind of file -> words of the command; {} is the folder."""


def run_command(kind: str, folder: Path, time_limit: float) -> tuple[str, str]:
    """Run the command of a kind and return the outcome and stderr.

    Args:
        kind: a key of COMMANDS.
        folder: folder of the files.
        time_limit: longest duration [s].
    """
    words = [word.replace("{}", str(folder)) for word in COMMANDS[kind]]
    if words[0] in ("collect", "export", "train"):
        suffix = ".onnx" if words[0] == "export" else ""
        words += ["--out", str(folder / f"out{suffix}")]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "invdyn_ros", *words],
            capture_output=True,
            text=True,
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "hang", f"no result in {time_limit} s"
    lines = done.stderr.strip().splitlines()
    if done.returncode not in (0, BAD_INPUT) or "Traceback" in done.stderr:
        return "traceback", done.stderr
    if done.returncode == BAD_INPUT and len(lines) != 1:
        return "several_lines", done.stderr
    return "refused" if done.returncode == BAD_INPUT else "accepted", done.stderr

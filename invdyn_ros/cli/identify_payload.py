"""`invdyn identify payload`: identify what an arm carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.config import Validated
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.models.payload_file import check_suffix, save_payload
from invdyn_ros.robots.payload import Payload
from invdyn_ros.training.dataset_arm import known_robot
from invdyn_ros.training.payload_recordings import payload_of_recordings


@dataclass(frozen=True)
class IdentifyPayloadOptions(OutputOptions, Validated):
    """Identify the payload of an arm from two recordings, without it and with it."""

    without: Path
    """Dataset folder of the arm without payload, with torques in N m."""
    loaded: Annotated[Path, tyro.conf.arg(name="with")]
    """Dataset folder of the same arm with it; best the same motion."""
    out: Path
    """File to write: .yaml or .json."""
    link: str | None = None
    """Link whose frame the centre of mass is in; default: the tip of the arm."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that in the dataset."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""

    def __post_init__(self) -> None:
        """Check the suffix of the file."""
        super().__post_init__()
        check_suffix(self.out)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    options: IdentifyPayloadOptions = parse(IdentifyPayloadOptions, argv, "identify payload")
    name = read_dataset(options.without).info.robot
    robot = known_robot(options.without, name, options.arm, options.urdf)
    payload = payload_of_recordings(options.without, options.loaded, robot, options.link)
    save_payload(payload, options.out)
    print(f"{options.out}: {describe(payload)}")
    return 0


def describe(payload: Payload) -> str:
    """Return the payload with its 95% intervals in one line."""

    def half(interval: tuple[float, float]) -> float:
        return (interval[1] - interval[0]) / 2

    assert payload.mass_ci95 is not None and payload.center_ci95 is not None
    center = ", ".join(
        f"{1e3 * x:.1f} +- {1e3 * half(ci):.1f}"
        for x, ci in zip(payload.center, payload.center_ci95, strict=True)
    )
    mass = f"{payload.mass:.4g} +- {half(payload.mass_ci95):.2g} kg"
    return f"{mass}, centre ({center}) mm in '{payload.link}' (95% intervals)"

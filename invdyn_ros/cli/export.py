"""`invdyn export`: export a model for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from invdyn_ros.cli.options import parse, robot_option
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.checkpoint_files import check_known_arm
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.rigid_body import RigidBody

SUFFIXES = (".onnx", ".c", ".urdf", ".xml")


@dataclass(frozen=True)
class ExportOptions(OutputOptions):
    """Export a model: .onnx (any family), .c, .urdf or .xml (MJCF; rigid_body)."""

    checkpoint: Path
    """Checkpoint folder."""
    out: Path
    """File to write; its suffix is the format. Beside a .c file comes its .h file."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; a checkpoint of another arm is an error."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the file, and the header of a C file."""
        yield "--out", self.out
        if self.out.suffix == ".c":
            yield "--out", self.out.with_suffix(".h")

    def __post_init__(self) -> None:
        """Check the suffix."""
        if self.out.suffix not in SUFFIXES or self.out.is_dir():
            raise ValueError(f"--out {self.out} does not end with {', '.join(SUFFIXES)}")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: ExportOptions = parse(ExportOptions, argv, "export")
    model = load(options.checkpoint, robot=robot_option(options.arm, options.urdf))
    check_known_arm(model.meta, options.checkpoint)
    if options.out.suffix == ".onnx":
        from invdyn_ros.models.onnx_export import export  # slow to import

        difference = export(model, options.out)
        note = f"differs from PyTorch by {difference:.1e} standard deviations of the actions"
    else:
        note = _export_rigid_body(model, options)
    size = options.out.stat().st_size / 1e3
    print(f"{options.out}: {model.meta.family} for {model.meta.robot}, {size:.0f} kB; {note}")
    return 0


def _export_rigid_body(model: InverseDynamics, options: ExportOptions) -> str:
    """Write C source, URDF or MJCF; return what to know about it."""
    from invdyn_ros.models.exports.c_source import c_source
    from invdyn_ros.models.exports.description import mjcf_text, urdf_text

    out = options.out
    if type(model) is not RigidBody:  # hybrid is one with a network
        raise ValueError(
            f"{options.checkpoint} is of the family {model.meta.family}; {out.suffix} holds only "
            "rigid_body, so export it as .onnx"
        )
    if out.suffix == ".c":
        texts = dict(zip((out, out.with_suffix(".h")), c_source(model, out.stem), strict=True))
        note = f"call {out.stem}_inverse_dynamics, declared in {out.with_suffix('.h').name}"
    else:
        texts = {out: (urdf_text if out.suffix == ".urdf" else mjcf_text)(model)}
        offset = float(model.friction[:, 2].abs().max())
        note = f"without the constant offsets of the joints, up to {offset:.2g} N m"
    out.parent.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_atomically(file, text.encode())
    return note

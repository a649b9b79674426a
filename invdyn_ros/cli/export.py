"""`invdyn export`: export a model to one ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from invdyn_ros.cli.options import parse
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.onnx_export import export


@dataclass(frozen=True)
class ExportOptions:
    """Export a model to one ONNX file, verified with onnxruntime."""

    checkpoint: Path
    """Checkpoint folder."""
    out: Path
    """ONNX file to write."""

    def __post_init__(self) -> None:
        """Check the suffix, from which `checkpoint:=` infers the format."""
        if self.out.suffix != ".onnx" or self.out.is_dir():
            raise ValueError(f"--out {self.out} is not a .onnx file")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: ExportOptions = parse(ExportOptions, argv, "export")
    model = load(options.checkpoint)
    difference = export(model, options.out)
    print(
        f"{options.out}: {model.meta.family} for {model.meta.robot}, "
        f"{options.out.stat().st_size / 1e3:.0f} kB; "
        f"differs from PyTorch by {difference:.1e} standard deviations of the actions"
    )
    return 0

"""`invdyn convert`: a plain checkpoint enters, `enhanced` that is the same function leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from invdyn_ros.cli.options import override, parse
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.net2net import convert


@dataclass(frozen=True)
class ConvertOptions:
    """Convert an mlp or gru into enhanced; --field value sets a field of enhanced."""

    checkpoint: Path
    """Checkpoint folder."""
    out: Path
    """Checkpoint folder to write."""
    seed: int = 0
    """Of the weights that are new."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(ConvertOptions, argv, "convert", return_unknown_args=True)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ValueError(f"--out {options.out} exists and is not empty; give a new folder")
    model = load(options.checkpoint)
    torch.manual_seed(options.seed)
    made = convert(model, **override({}, rest))
    save(made, made.meta, options.out)
    print(
        f"{options.out}: enhanced for {made.meta.robot}, the same function as {model.meta.family}"
    )
    return 0

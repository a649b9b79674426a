"""`invdyn convert`: convert a checkpoint to an equivalent model of the family enhanced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from invdyn_ros.cli.options import override, parse
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.net2net import convert


@dataclass(frozen=True)
class ConvertOptions(OutputOptions):
    """Convert an mlp or gru checkpoint to enhanced; `--field value` sets a field of enhanced."""

    checkpoint: Path
    """Checkpoint folder."""
    out: Path
    """Checkpoint folder to write."""
    seed: int = 0
    """Seed of the weights that the original does not have."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(ConvertOptions, argv, "convert", return_unknown_args=True)
    model = load(options.checkpoint)
    torch.manual_seed(options.seed)
    converted = convert(model, **override({}, rest))
    save(converted, converted.meta, options.out)
    robot, family = converted.meta.robot, model.meta.family
    print(f"{options.out}: enhanced for {robot}, equivalent to the {family} model")
    return 0

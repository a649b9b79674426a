"""`invdyn label`: write a dataset with predicted actions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from invdyn_ros.cli.options import parse
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.pseudo_labels import label_recordings
from invdyn_ros.workers import WorkerOptions


@dataclass(frozen=True)
class LabelOptions(OutputOptions, WorkerOptions):
    """Write a dataset with the actions that a model predicts. An interrupted run is resumed."""

    checkpoint: Path
    """Checkpoint folder."""
    data: Path
    """Dataset folder, video file or folder of videos."""
    out: Path
    """Dataset folder to write."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: LabelOptions = parse(LabelOptions, argv, "label")
    count = 0
    with (
        options.executor() as executor,
        tqdm(unit="recording", desc="labelling", file=sys.stderr) as bar,
    ):
        for total in label_recordings(options.checkpoint, options.data, options.out, executor):
            bar.total, count = total, total
            bar.update()
    print(f"{options.out}: {count} recordings with predicted actions")
    return 0

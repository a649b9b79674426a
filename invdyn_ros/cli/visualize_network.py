"""`invdyn visualize network`: write a page or a film of a network while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from invdyn_ros.config import Validated
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.pages.network import read_network_page, write_network_page
from invdyn_ros.evaluation.plots.network_video import write_network_video
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.network_history import NetworkHistory
from invdyn_ros.training.network_recorder import checkpoint_history
from invdyn_ros.training.xor import CASES, XorConfig, correct_predictions, train_xor

PAGE_SUFFIX, VIDEO_SUFFIXES = ".html", (".mp4", ".gif")


@dataclass(frozen=True)
class NetworkOptions(OutputOptions, Validated):
    """Write a page (.html) or a film (.mp4, .gif) of a network while it trains.

    Without --checkpoints or --compare it is a small network that learns exclusive or, trained at
    once.
    """

    out: tuple[Path, ...]
    """Files to write: .html, .mp4 or .gif."""
    checkpoints: tuple[Path, ...] = ()
    """Checkpoint folders of one network, from its first to its last training."""
    compare: tuple[Path, ...] = ()
    """One or two pages written before; two are shown side by side."""
    xor: Annotated[XorConfig, tyro.conf.arg(name="xor")] = field(default_factory=XorConfig)
    """The network that learns exclusive or."""

    def __post_init__(self) -> None:
        """Check the files to write and the sources."""
        super().__post_init__()
        known = (PAGE_SUFFIX, *VIDEO_SUFFIXES)
        for file in self.out:
            if file.suffix not in known or file.is_dir():
                raise ValueError(f"--out {file} is no file that ends with {', '.join(known)}")
        if self.checkpoints and self.compare:
            raise ValueError("--checkpoints and --compare exclude each other; give one of them")
        if len(self.compare) > 2:
            raise ValueError(f"--compare has {len(self.compare)} pages; give one or two")


def write_network(options: NetworkOptions) -> list[Path]:
    """Write the files and return their paths.

    Raises:
        ValueError: a source that cannot be read or drawn.
    """
    histories = _histories(options)
    for file in options.out:
        if file.suffix == PAGE_SUFFIX:
            write_network_page(file, histories)
        else:
            write_network_video(file, histories)
    return list(options.out)


def _histories(options: NetworkOptions) -> Sequence[NetworkHistory]:
    """Read or train the networks."""
    if options.compare:
        pages = [read_network_page(page) for page in options.compare]
        if len(pages) == 1:
            return pages[0]
        titles = {histories[0].title for histories in pages}
        return [
            histories[0]
            if len(titles) == len(pages)
            else replace(histories[0], title=f"{histories[0].title} ({page.stem})")
            for page, histories in zip(options.compare, pages, strict=True)
        ]
    if options.checkpoints:
        return [checkpoint_history([load(folder) for folder in options.checkpoints])]
    history = train_xor(options.xor)
    print(f"{correct_predictions(history)} of {len(CASES)} predictions right")
    return [history]

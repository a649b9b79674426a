"""`invdyn collect SOURCE`: write the trajectories of a source as a dataset folder."""

from __future__ import annotations

from dataclasses import make_dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_type_hints

import tyro

from invdyn_ros.cli.collect_grasp import DEMONSTRATIONS
from invdyn_ros.cli.options import parse
from invdyn_ros.data.dataset import check_writable
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.sources.inspection.collected_dataset import write_collection
from invdyn_ros.sources.registry import SOURCES
from invdyn_ros.sources.source import Source

POSITIONAL = ("path", "paths")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options_of = {name: _with_out(source) for name, source in SOURCES.items()}
    options_of |= {name: kind for name, (kind, _) in DEMONSTRATIONS.items()}
    commands: Any = Union[  # noqa: UP007 (made at run time)
        tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in options_of.items())
    ]
    options = parse(Annotated[commands, tyro.conf.OmitArgPrefixes], argv, "collect")
    check_writable(options.out)
    for kind, write in DEMONSTRATIONS.values():
        if isinstance(options, kind):
            write(options)
            return 0
    print("\n".join(write_collection(options.out, options.collect())))
    return 0


def _with_out(source: type[Source]) -> type:
    """Return a subclass of a source with the option --out and positional paths, for tyro."""
    positional: Any = tyro.conf.Positional
    hints = get_type_hints(source)
    changed = [(name, positional[hints[name]]) for name in POSITIONAL if name in hints]
    changed.append(("out", Annotated[Path, tyro.conf.arg(help="Dataset folder to write.")]))
    options = make_dataclass(
        source.__name__, changed, bases=(OutputOptions, source), frozen=True, kw_only=True
    )
    options.__doc__ = source.__doc__
    return options

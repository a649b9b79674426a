"""File of a payload, YAML or JSON."""

from __future__ import annotations

from pathlib import Path

import yaml

from invdyn_ros.config import from_mapping, load_json, load_yaml, to_mapping
from invdyn_ros.data.atomic_file import write_atomically, write_json
from invdyn_ros.robots.payload import Payload

SUFFIXES = (".yaml", ".yml", ".json")
REMEDY = "make it with `invdyn identify payload`"


def load_payload(path: str | Path) -> Payload:
    """Read a payload from a YAML or JSON file.

    Raises:
        ValueError: no such file, or not a payload; always one line.
    """
    check_suffix(path)
    if Path(path).suffix == ".json":
        return from_mapping(Payload, load_json(path, REMEDY), str(path))
    return from_mapping(Payload, load_yaml(path), str(path))


def save_payload(payload: Payload, path: str | Path) -> None:
    """Write a payload to a YAML or JSON file."""
    check_suffix(path)
    path, values = Path(path), to_mapping(payload)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        return write_json(path, values)
    comment = f"# payload: {Path(path).stem}; kg, m, kg m2; 95% intervals\n"
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
    return write_atomically(path, (comment + text).encode())


def check_suffix(path: str | Path) -> None:
    """Raise a ValueError unless a file of a payload ends with one of SUFFIXES."""
    if Path(path).suffix not in SUFFIXES:
        raise ValueError(f"payload {path} does not end with {', '.join(SUFFIXES)}; {REMEDY}")

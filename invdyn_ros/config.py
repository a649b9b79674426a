"""Configuration: values from YAML, JSON, command lines and ROS parameters as dataclasses.

pydantic checks values against the annotations of the dataclass. An error is one line: source,
field, value and what is allowed.
"""

from __future__ import annotations

import array
import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError

T = TypeVar("T")

Fraction = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveInts = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
RECONFIGURABLE = {"reconfigurable": True}  # metadata of a field that may change while a node runs

# neither "1" nor True is an integer, and no number is infinite
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
MAX_VALUES, MAX_DEPTH = 100_000, 100  # values of a YAML text with its aliases, and brackets
NESTED = "it is nested too deeply"
MAX_LINE, MAX_REASON, MAX_SHORT = 1000, 200, 60  # characters of message, reason and value


class Validated:
    """Base of a dataclass whose constrained fields are checked however it is constructed."""

    def __post_init__(self) -> None:
        """Check the fields whose annotation has a constraint or choices.

        Raises:
            ValueError: names the field, its value and what is allowed.
        """
        for name, adapter in _constraints(type(self)).items():  # type: ignore[arg-type]
            try:
                adapter.validate_python(getattr(self, name))
            except ValidationError as error:
                raise ValueError(_message(type(self), error, name)) from None


def from_mapping(cls: type[T], values: Mapping[str, Any], source: str) -> T:
    """Fill a dataclass from numbers, text, lists and mappings.

    An integer is accepted for a float, a list for a tuple, text for a path, and nothing else.

    Args:
        cls: dataclass to fill; fields absent from `values` keep their default.
        values: field name -> value; a nested dataclass is a mapping.
        source: name of the source in error messages, such as a file name.

    Raises:
        ValueError: unknown or missing field, or a value that its field does not allow.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{source}: expected fields of {cls.__name__}, got {_short(values)}")
    try:
        # strict pydantic takes a list for a tuple and text for a path from JSON only
        text = json.dumps(dict(values), default=_to_json)
        return _adapter(cls).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(f"{source}: {_message(cls, error)}") from None
    except (TypeError, ValueError) as error:  # a value or a key that JSON does not have
        raise ValueError(f"{source}: {describe_error(error)}") from None


def from_strings(cls: type[T], values: Mapping[str, str], source: str) -> T:
    """Fill a dataclass from text, such as launch arguments.

    Args:
        cls: dataclass to fill; fields absent from `values` keep their default.
        values: field name -> text.
        source: name of the source in error messages.

    Raises:
        ValueError: unknown or missing field, or text that its field does not allow.
    """
    try:
        return _adapter(cls).validate_strings(values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(f"{source}: {_message(cls, error)}") from None


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn a dataclass into plain dicts, lists, text and numbers; `from_mapping` reads them."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}


def error_line(error: BaseException) -> str:
    """Return the message of an error for the user: one line, without endless words."""
    text = re.sub(r"\S{300,}", lambda word: f"{word[0][:60]}...", str(error))
    return _shorten(text or describe_error(error), MAX_LINE)


def describe_error(error: BaseException) -> str:
    """Return the reason of an error in a short line, however much a library says."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x} at {error.start} is not UTF-8 text"
    if isinstance(error, (RecursionError, MemoryError)):
        return NESTED if isinstance(error, RecursionError) else "it does not fit into the memory"
    if isinstance(error, KeyError):
        return _shorten(f"it lacks {error}", MAX_REASON)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _shorten(next(filter(None, map(str.strip, text.splitlines())), ""), MAX_REASON)


def read_text(path: str | Path) -> str:
    """Read a text file; raise a ValueError if it is missing, not readable or not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {describe_error(error)}") from error


def load_json(path: str | Path, remedy: str = "copy it again") -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: the file.
        remedy: end of an error message.

    Raises:
        ValueError: no such file, not JSON, a repeated key, not an object; always one line.
    """
    values = parse_json(read_text(path), str(path), remedy)
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a JSON object; {remedy}")
    return values


def parse_json(text: str | bytes, source: str, remedy: str = "copy it again") -> Any:
    """Parse JSON.

    Args:
        text: the text.
        source: its name in error messages.
        remedy: end of an error message.

    Raises:
        ValueError: not JSON, a repeated key, nested too deeply; always one line.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not JSON ({describe_error(error)}); {remedy}") from error


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ValueError: no such file, not YAML, a tag, a repeated key, not a mapping; always one line.
    """
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected 'key: value' lines, got {_short(values)}")
    return values


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text without constructing Python objects; `source` names it in error messages.

    Raises:
        ValueError: not YAML, a tag, a repeated key, nested too deeply; always one line.
    """
    try:
        check_nesting(text)
        values = yaml.load(text, Loader=_Loader)
        if not _count_values(values, {}) <= MAX_VALUES:
            raise ValueError(f"its aliases expand to more than {MAX_VALUES} values")
    except yaml.YAMLError as error:
        problem = _shorten(getattr(error, "problem", None) or str(error), MAX_REASON)
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{source}: not plain YAML: {problem}{line}") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{source}: not plain YAML: {describe_error(error)}") from error
    return values


def check_nesting(text: str) -> None:
    """Raise if brackets of a YAML text are nested deeply, where parsers are slow."""
    depth = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(NESTED)


def _count_values(value: Any, counts: dict[int, float]) -> float:
    """Return the number of values; infinite where a list contains itself. Aliases share an id."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in counts:
        counts[id(value)] = math.inf
        items = value.values() if isinstance(value, dict) else value
        counts[id(value)] = 1 + sum(_count_values(item, counts) for item in items)
    return counts[id(value)]


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dict, refusing a repeated key."""
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {_short(repeated)} is given twice")
    return values


class _Loader(yaml.SafeLoader):
    """Safe loader that reads 1e-3 as a number (YAML 1.2) and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dict, refusing a repeated key."""
        keys: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in keys and name != "<<":
                problem = f"key {_short(name)} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(name)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls | None, config=STRICT)  # a union: pydantic refuses a config for cls


@cache
def _constraints(cls: Any) -> dict[str, TypeAdapter[Any]]:
    """Return validators of the fields whose annotation has a constraint or choices."""
    hints = get_type_hints(cls, include_extras=True).items()
    return {n: TypeAdapter(h) for n, h in hints if get_origin(h) in (Annotated, Literal)}


def _message(cls: Any, error: ValidationError, name: str = "") -> str:
    """Describe the first error in one line; `name` is that of a field that is checked alone."""
    # a misspelt name comes before the missing field that it causes
    first = max(error.errors(), key=lambda e: e["type"] == "unexpected_keyword_argument")
    kind, text = first["type"], first["msg"]
    for part in first["loc"]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    name = name.removeprefix(".")
    if kind == "unexpected_keyword_argument":
        for part in first["loc"][:-1]:  # find the dataclass of a nested field
            hint = get_type_hints(cls).get(str(part))
            cls = next((h for h in (hint, *get_args(hint)) if dataclasses.is_dataclass(h)), cls)
        known = ", ".join(field.name for field in dataclasses.fields(cls))
        hint = similar_name(name, known.split(", "))
        return f"unknown field '{_shorten(name, MAX_SHORT)}'; {cls.__name__} has {known}{hint}"
    if kind == "missing":
        return f"field '{name}' of {cls.__name__} is missing"
    if kind == "value_error":  # raised by a __post_init__
        return ": ".join(filter(None, [name, text.removeprefix("Value error, ")]))
    allowed = re.sub(r"^\w+ should |, unable to .*| after validation", "", text)
    return f"{name} is {_short(first['input'])}; it must {allowed}"


def similar_name(name: str, known: Sequence[str]) -> str:
    """Return the end of a message: which of the known names is meant, if one is like it."""
    last = name.rpartition(".")[2]
    close = [n for n in known if n.startswith(f"{last}_")] or get_close_matches(last, known, 1)
    return f"; do you mean '{close[0]}'?" if close else ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, array.array):  # rclpy's list of numbers
        return value.tolist()
    if isinstance(value, Path) or dataclasses.is_dataclass(value):
        return _plain(value)
    raise TypeError(f"{_short(value)} is not a number, text, list or mapping")


def _short(value: Any) -> str:
    return _shorten(repr(value), MAX_SHORT)


def _shorten(text: str, length: int) -> str:
    """Return a text as one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 3]}..."

"""Settings: a mapping (YAML, command line, ROS) enters, a checked dataclass leaves."""

from __future__ import annotations

import array
import dataclasses
import re
import types
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

T = TypeVar("T")


class Constraint(NamedTuple):
    """What the value of a field must do, in words and as a test that not-a-number fails."""

    description: str
    predicate: Callable[[Any], bool]


def at_least(minimum: float) -> Constraint:
    """Return the rule of values from `least` up."""
    return Constraint(f"be at least {minimum}", lambda value: value >= minimum)


def above(bound: float) -> Constraint:
    """Return the rule of values greater than `least`."""
    return Constraint(f"be above {bound}", lambda value: value > bound)


def between(minimum: float, maximum: float) -> Constraint:
    """Return the rule of values from `least` to `most`, both of them allowed."""
    return Constraint(f"be {minimum} to {maximum}", lambda value: minimum <= value <= maximum)


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, Constraint("be positive", lambda value: value > 0)]
NonNegative = Annotated[float, Constraint("not be negative", lambda value: value >= 0)]
Fraction = Annotated[
    float, Constraint("be a share, above 0 up to 1", lambda value: 0 < value <= 1)
]
Probability = Annotated[float, between(0, 1)]
Sizes = Annotated[
    tuple[int, ...],
    Constraint("hold sizes of at least 1", lambda sizes: sizes and min(sizes) >= 1),
]
Decay = Annotated[float, Constraint("be at least 0 and less than 1", lambda value: 0 <= value < 1)]


class Checked:
    """Base of a dataclass whose fields keep the rules that they are annotated with."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: a rule is broken or a choice unknown, naming field, value and the right.
        """
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value, choices = getattr(self, name), get_args(hint)
            if get_origin(hint) is Literal and value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
            for rule in getattr(hint, "__metadata__", ()):
                if isinstance(rule, Constraint) and not rule.predicate(value):
                    raise ValueError(f"{name} is {value}; it must {rule.description}")


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Fill a dataclass from a mapping, strictly.

    Fields may be bool, int, float, str, Path, Literal, Optional, tuple, dict and nested
    dataclasses. A whole number passes for a float, a list for a tuple; nothing else is converted.

    Args:
        cls: the dataclass to fill; fields absent from `values` keep their default.
        values: field name -> plain value.
        where: what error messages call the source, such as a file name.

    Raises:
        ValueError: unknown or missing field, or a value of the wrong type, naming the right ones.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected fields of {cls.__name__}, got {_short_repr(values)}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            known = ", ".join(fields)
            raise ValueError(f"{where}: unknown field {name!r}; {cls.__name__} has {known}")
    for name, field in fields.items():
        no_default = field.default is field.default_factory is dataclasses.MISSING
        if name not in values and no_default:
            raise ValueError(f"{where}: field '{name}' of {cls.__name__} is missing")
    hints = get_type_hints(cls)
    filled = {
        name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()
    }
    try:
        return cls(**filled)
    except ValueError as error:  # a rule in __post_init__: say which file broke it
        raise ValueError(f"{where}: {error}") from error


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn a dataclass into plain dicts, lists, text and numbers; `from_mapping` reads them."""
    fields = [field.name for field in dataclasses.fields(config) if field.init]
    return {name: _plain(getattr(config, name)) for name in fields}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, without running anything it asks for.

    Raises:
        ValueError: no such file, not YAML, a tag, a repeated key, not a mapping; always one line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(f"cannot read {path}: {reason}") from error
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not plain YAML: {_yaml_error_message(error)}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected 'key: value' lines, got {_short_repr(values)}")
    return values


class _Loader(yaml.SafeLoader):
    """The safe loader, with 1e-3 a number (YAML 1.2) and repeated keys an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dict, refusing a key that was given before."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str) and key != "<<":
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _yaml_error_message(error: yaml.YAMLError) -> str:
    """Put a YAML error on one line: what, and on which line of the file."""
    problem = " ".join((getattr(error, "problem", None) or str(error)).split())
    mark = getattr(error, "problem_mark", None)
    return f"{problem}, line {mark.line + 1}" if mark else problem


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check one value against its type annotation and return it in that type."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)  # type: ignore[arg-type]
    for kinds, convert in _CONVERTERS:
        if hint in kinds or origin in kinds:
            return convert(hint, value, where)
    raise TypeError(f"{where}: a config field cannot be of type {hint}")


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if type(value) is not hint:  # exact: a bool is an int in Python, never in a config
        raise ValueError(f"{where}: expected {_NAMES[hint]}, got {_short_repr(value)}")
    return value


def _literal(hint: Any, value: Any, where: str) -> Any:
    for choice in get_args(hint):
        if value == choice and type(value) is type(choice):
            return choice
    choices = ", ".join(map(repr, get_args(hint)))
    raise ValueError(f"{where}: {_short_repr(value)} is not one of {choices}")


def _union(hint: Any, value: Any, where: str) -> Any:
    errors = []
    for option in get_args(hint):
        try:
            return _convert(option, value, where)
        except ValueError as error:
            errors.append(error)
    # the first option is the meant one in `X | None`
    raise errors[0]


def _none(hint: Any, value: Any, where: str) -> None:
    if value is not None:
        raise ValueError(f"{where}: expected nothing, got {_short_repr(value)}")


def _tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple, array.array)):  # rclpy gives arrays
        raise ValueError(f"{where}: expected a list, got {_short_repr(value)}")
    kinds = get_args(hint) or (Any, ...)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{where}: expected {len(kinds)} values, got {len(value)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)


def _dict(hint: Any, value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected 'key: value' pairs, got {_short_repr(value)}")
    key_hint, value_hint = get_args(hint) or (Any, Any)
    return {
        _convert(key_hint, key, where): _convert(value_hint, item, f"{where}.{key}")
        for key, item in value.items()
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _short_repr(value: Any) -> str:
    """Show a value in an error message, never over many lines."""
    text = repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}

_CONVERTERS: list[tuple[tuple[Any, ...], Callable[[Any, Any, str], Any]]] = [
    (tuple(_NAMES), _scalar),
    ((Literal,), _literal),
    ((Union, types.UnionType), _union),
    ((types.NoneType,), _none),
    ((tuple,), _tuple),
    ((dict,), _dict),
]

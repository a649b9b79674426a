"""ROS parameters of a node, described by the fields of a dataclass, and their changes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from docstring_parser import DocstringStyle, parse_from_object
from pydantic import TypeAdapter
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from invdyn_ros.config import from_mapping, to_mapping

T = TypeVar("T")

NUMBER = "number"  # JSON schema's name of a float
TYPES = {
    "boolean": Parameter.Type.BOOL,
    "integer": Parameter.Type.INTEGER,
    NUMBER: Parameter.Type.DOUBLE,
    "string": Parameter.Type.STRING,
}
ARRAY_TYPES = {
    "boolean": Parameter.Type.BOOL_ARRAY,
    "integer": Parameter.Type.INTEGER_ARRAY,
    NUMBER: Parameter.Type.DOUBLE_ARRAY,
    "string": Parameter.Type.STRING_ARRAY,
}
MAX_INTEGER, MAX_FLOAT = 2**63 - 1, sys.float_info.max


def describe_fields(config: type, is_reconfigurable: bool) -> dict[str, ParameterDescriptor]:
    """Return the descriptor of the parameter of each field of a dataclass, by its name.

    Args:
        config: the dataclass, the only source of descriptions, types, ranges and choices.
        is_reconfigurable: whether its fields marked RECONFIGURABLE may change while the node runs.
    """
    texts, schemas = _descriptions(config), TypeAdapter(config).json_schema()["properties"]
    return {
        field.name: _descriptor(
            schemas[field.name],
            texts.get(field.name) or schemas[field.name].get("description", ""),
            is_reconfigurable and field.metadata.get("reconfigurable", False),
        )
        for field in _declared(config)
    }


def default_values(config: type) -> dict[str, Any]:
    """Return the defaults of a dataclass as plain values; a required field has none."""
    defaults = {}
    for field in _declared(config):
        if field.default is not MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not MISSING:
            defaults[field.name] = field.default_factory()
    return {name: _plain(value) for name, value in defaults.items()}


def with_declared_type(node: Node, parameter: Parameter) -> Parameter:
    """Return a parameter as float if it is an integer, and was declared as float."""
    if parameter.type_ != Parameter.Type.INTEGER or not node.has_parameter(parameter.name):
        return parameter
    if node.describe_parameter(parameter.name).type != Parameter.Type.DOUBLE.value:
        return parameter
    return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))


class Reconfiguration(Generic[T]):
    """Checks the changes of the parameters of one dataclass, and passes them on."""

    def __init__(self, node: Node, config: T, on_change: Callable[[T], None]) -> None:
        """Watch the parameters of a node.

        Args:
            node: has the parameters.
            config: their present values.
            on_change: takes the new values, once they are checked and set.
        """
        self._node, self._config, self._on_change = node, config, on_change
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._apply)

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._with(parameters)
        except (ValueError, OSError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: Sequence[Parameter]) -> None:
        before, self._config = self._config, self._with(parameters)
        if self._config == before:
            return
        for field in _declared(type(self._config)):
            value = getattr(self._config, field.name)
            if value != getattr(before, field.name):
                self._node.get_logger().info(f"{field.name} is now {value}")
        self._on_change(self._config)

    def _with(self, parameters: Sequence[Parameter]) -> T:
        """Return the values with those of changed parameters.

        Raises:
            ValueError: a value is not allowed.
        """
        values = to_mapping(self._config)
        changed = {p.name: p.value for p in parameters if p.name in values}
        source = f"parameters of node '{self._node.get_name()}'"
        return (
            from_mapping(type(self._config), values | changed, source) if changed else self._config
        )


def set_descriptor(node: Node, name: str, descriptor: ParameterDescriptor, value: Any) -> None:
    """Give a declared parameter its descriptor.

    Args:
        node: has the parameter.
        name: name of the parameter.
        descriptor: description, type, range and whether it is read-only.
        value: checked value, which replaces one of another type, such as an integer for a float.
    """
    kind = Parameter.Type(descriptor.type)
    if descriptor.dynamic_typing:
        node.set_descriptor(name, descriptor)
    else:
        parameter = Parameter(name, kind, value)
        node.set_descriptor(name, descriptor, parameter.get_parameter_value())


def _plain(value: Any) -> Any:
    is_text, is_list = isinstance(value, Path), isinstance(value, tuple)
    return str(value) if is_text else list(value) if is_list else value


def _declared(config: type) -> list[Field[Any]]:
    return [field for field in fields(config) if field.init]


def _descriptions(config: type) -> dict[str, str]:
    """Return what the docstrings of a dataclass and its bases say of each field."""
    return {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for base in reversed(config.__mro__[:-1])
        for parameter in parse_from_object(base, DocstringStyle.GOOGLE).params
    }


def _descriptor(
    schema: Mapping[str, Any], description: str, is_reconfigurable: bool
) -> ParameterDescriptor:
    """Return the descriptor of a parameter.

    Args:
        schema: JSON schema of its values.
        description: what it is.
        is_reconfigurable: whether it may change while the node runs.
    """
    kind = TYPES.get(schema.get("type", ""))
    if schema.get("type") == "array":
        kind = ARRAY_TYPES.get(schema.get("items", {}).get("type", ""))
    descriptor = ParameterDescriptor(
        description=description,
        read_only=not is_reconfigurable,
        additional_constraints=_constraints(schema),
        dynamic_typing=kind is None,
    )
    if kind is not None:
        descriptor.type = kind.value
    low, high = _limits(schema)
    if kind == Parameter.Type.INTEGER and (low, high) != (-MAX_INTEGER, MAX_INTEGER):
        whole = IntegerRange(from_value=int(low), to_value=int(high))
        descriptor.integer_range = [whole]
    elif kind == Parameter.Type.DOUBLE and (low, high) != (-MAX_FLOAT, MAX_FLOAT):
        real = FloatingPointRange(from_value=float(low), to_value=float(high))
        descriptor.floating_point_range = [real]
    return descriptor


def _limits(schema: Mapping[str, Any]) -> tuple[float, float]:
    """Return the smallest and the largest value of a number.

    ROS ranges include their ends, so the end of an open range of floats is only in the words of
    the descriptor, and `Reconfiguration` checks it.
    """
    is_whole = schema.get("type") == "integer"
    largest = MAX_INTEGER if is_whole else MAX_FLOAT
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + is_whole)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - is_whole)
    return max(low, -largest), min(high, largest)


def _constraints(schema: Mapping[str, Any]) -> str:
    """Return in words what a range does not say: choices, and ends that are not allowed."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    words = [f"one of {', '.join(map(repr, choices))}"] if choices else []
    if "exclusiveMinimum" in schema and schema["type"] == NUMBER:
        words.append(f"greater than {schema['exclusiveMinimum']:g}")
    if math.isfinite(schema.get("exclusiveMaximum", math.inf)) and schema["type"] == NUMBER:
        words.append(f"less than {schema['exclusiveMaximum']:g}")
    return "; ".join(words)

import array
import re
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from invdyn_ros.cli.options import override
from invdyn_ros.config import (
    Fraction,
    FractionBelowOne,
    PositiveInts,
    Probability,
    Validated,
    from_mapping,
    from_strings,
    load_yaml,
    to_mapping,
)


@dataclass(frozen=True)
class Filter(Validated):
    cutoff: PositiveFloat = 1.0
    gains: tuple[float, ...] = ()


@dataclass(frozen=True)
class Model:
    width: int
    filter: Filter = Filter()
    folder: Path | None = None
    kind: Literal["gru", "mlp"] = "mlp"
    window: tuple[int, str] = (1, "s")
    frozen: bool = False
    scale: dict[str, float] = field(default_factory=dict)


FULL = Model(64, Filter(2.0, (1.0, 2.5)), Path("a/b"), "gru", (3, "ms"), True, {"x": 1.0})


def test_a_config_round_trips_through_yaml(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(to_mapping(FULL)))
    assert from_mapping(Model, load_yaml(file), str(file)) == FULL


@pytest.mark.parametrize(
    ("hint", "allowed", "refused", "constraint"),
    [
        (PositiveInt, 1, 0, "be greater than 0"),
        (PositiveFloat, 1e-9, 0.0, "be greater than 0"),
        (NonNegativeFloat, 0.0, -1e-9, "be greater than or equal to 0"),
        (Fraction, 1.0, 0.0, "be greater than 0"),
        (Fraction, 1e-9, 1.1, "be less than or equal to 1"),
        (Probability, 1.0, 1.1, "be less than or equal to 1"),
        (FractionBelowOne, 0.0, 1.0, "be less than 1"),
        (PositiveInts, (1,), (), "have at least 1 item, not 0"),
        (PositiveFloat, 1.0, float("nan"), "be greater than 0"),
        (Annotated[float, Field(gt=1)], 1.1, 1.0, "be greater than 1"),
        (Literal["gru", "mlp"], "gru", "lstm", "be 'gru' or 'mlp'"),
    ],
)
def test_broken_constraint_names_field_and_value(hint, allowed, refused, constraint):
    cls = make_dataclass("Config", [("value", hint)], bases=(Validated,))
    assert cls(allowed).value == allowed
    with pytest.raises(ValueError, match=re.escape(f"value is {refused!r}; it must {constraint}")):
        cls(refused)


def test_omitted_fields_keep_their_default():
    assert from_mapping(Model, {"width": 8}, "here") == Model(8)


def test_integers_and_arrays_are_accepted_for_floats_and_tuples():
    values = {"cutoff": 3, "gains": array.array("d", [1, 2])}
    config = from_mapping(Filter, values, "here")
    assert config == Filter(3.0, (1.0, 2.0)) and type(config.cutoff) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 1, "heigth": 2}, "unknown field 'heigth'; Model has width, filter, folder"),
        ({"widht": 1}, "unknown field 'widht'; Model has width, .*; do you mean 'width'"),
        ({"width": 1, "filter": {"gain": 1}}, "unknown field 'filter.gain'; Filter has cutoff"),
        ({}, "field 'width' of Model is missing"),
        ({"width": True}, "width is True; it must be a valid integer"),
        ({"width": 1.0}, "width is 1.0; it must be a valid integer"),
        ({"width": "1"}, "width is '1'; it must be a valid integer"),
        ({"width": 1, "frozen": 1}, "frozen is 1; it must be a valid boolean"),
        ({"width": 1, "kind": "lstm"}, "kind is 'lstm'; it must be 'gru' or 'mlp'"),
        ({"width": 1, "filter": 3}, "filter is 3; it must be an object"),
        (
            {"width": 1, "filter": {"gains": ["x"]}},
            r"filter.gains\[0\] is 'x'; it must be a valid number",
        ),
        (
            {"width": 1, "filter": {"cutoff": -1.0}},
            "filter.cutoff is -1.0; it must be greater than 0",
        ),
        ({"width": 1, "window": [1]}, r"field 'window\[1\]' of Model is missing"),
        ({"width": 1, "scale": {"x": "y"}}, "scale.x is 'y'; it must be a valid number"),
        ({"width": 1, "folder": 4}, "folder is 4; it must be a valid string"),
    ],
)
def test_error_names_a_wrong_value_and_what_is_allowed(values, message):
    with pytest.raises(ValueError, match=f"^a.yaml: .*{message}") as caught:
        from_mapping(Model, values, "a.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "expected 'key: value' lines, got"),
        ("", "expected 'key: value' lines, got None"),
        ("a: [1\n", "not plain YAML"),
        ("a: 1\na: 2\n", "key 'a' is given twice, line 2"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_not_a_plain_mapping_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_yaml(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_error_names_a_missing_file():
    with pytest.raises(ValueError, match=r"cannot read no/such.yaml: No such file"):
        load_yaml("no/such.yaml")


def test_numbers_in_exponent_notation_are_numbers(tmp_path):
    file = tmp_path / "numbers.yaml"
    file.write_text("a: 1e-3\nb: -2E5\nc: 1.5e+2\nd: 3\ne: '1e-3'\n")
    assert load_yaml(file) == {"a": 1e-3, "b": -2e5, "c": 150.0, "d": 3, "e": "1e-3"}


@dataclass(frozen=True)
class Launch:
    arm: Literal["ur5", "dofbot"] = "ur5"
    headless: bool = True
    seed: PositiveInt = 1
    video: str = ""


def test_text_is_converted_to_the_types_of_the_fields():
    text = {"arm": "dofbot", "headless": "false", "seed": "7", "video": "007"}
    assert from_strings(Launch, text, "here") == Launch("dofbot", False, 7, "007")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"arm": "ur3"}, "arm is 'ur3'; it must be 'ur5' or 'dofbot'"),
        ({"headless": "maybe"}, "headless is 'maybe'; it must be a valid boolean"),
        ({"seed": "2.5"}, "seed is '2.5'; it must be a valid integer"),
        ({"seed": "0"}, "seed is '0'; it must be greater than 0"),
        (
            {"sed": "1"},
            "unknown field 'sed'; Launch has arm, headless, seed, video; do you mean 'seed'[?]",
        ),
    ],
)
def test_text_that_is_no_value_is_refused(text, message):
    with pytest.raises(ValueError, match=f"^here: {message}$"):
        from_strings(Launch, text, "here")


def test_command_line_overrides_fields_and_nested_fields():
    values = {"width": 8, "filter": {"cutoff": 1.0}}
    arguments = ["--width", "16", "--filter.cutoff=1e-3", "--filter.gains", "[1, 2]"]
    expected = {"width": 16, "filter": {"cutoff": 1e-3, "gains": [1, 2]}}
    assert override(values, arguments) == expected
    assert values == {"width": 8, "filter": {"cutoff": 1.0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["width", "3"], "expected '--field value' with a field of the config file, got 'width'"),
        (["--width"], "expected '--field value' with a field of the config file, got '--width'"),
        (["--width.more", "3"], "'--width.more': width is a field, not a group"),
        (["--width", "[1"], "--width: not plain YAML"),
    ],
)
def test_bad_overrides_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        override({"width": 8}, arguments)

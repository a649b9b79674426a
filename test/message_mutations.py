"""Mutations of messages: values, lengths and names that no device of this graph would send."""

from __future__ import annotations

import array
import copy
import re

import numpy as np

NUMBERS = (0.0, -1.0, 1e-320, 1e9, 1e300, float("nan"), float("inf"), -float("inf"))
WORDS = ("", "x", "wrist_3_joint", "\u00b2", "9" * 5000, "\U0001f916 \n", "base_link")
BITS = re.compile(r"(u?)int(\d+)")


def mutate(message, rng):
    """Return a copy of a message in which one to three values are replaced."""
    message = copy.deepcopy(message)
    for _ in range(rng.integers(1, 4)):
        _mutate_field(message, rng)
    return message


def _mutate_field(message, rng):
    fields = message.get_fields_and_field_types()
    names = list(fields)
    # values deeper in the message as often as those at its top
    name = names[rng.integers(len(names))]
    setattr(message, name, _mutated(getattr(message, name), fields[name], rng))


def _mutated(value, kind, rng):
    if hasattr(value, "get_fields_and_field_types"):
        _mutate_field(value, rng)
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return WORDS[rng.integers(len(WORDS))]
    if isinstance(value, float):
        return NUMBERS[rng.integers(len(NUMBERS))]
    if isinstance(value, int):
        return _integer(kind, rng)
    return _mutated_sequence(value, kind, rng)


def _integer(kind, rng):
    match = BITS.search(kind)
    unsigned, bits = (match[1], int(match[2])) if match else ("u", 8)
    top = 2 ** (bits if unsigned else bits - 1) - 1
    choices = (0, 1, 2, 7, top, 0 if unsigned else -top)
    return choices[rng.integers(len(choices))]


def _mutated_sequence(value, kind, rng):
    if isinstance(value, np.ndarray):  # of fixed length
        value = value.copy()
        value[rng.integers(len(value))] = NUMBERS[rng.integers(len(NUMBERS))]
        return value
    items = list(value)
    action = rng.integers(5)
    if action == 0:
        items = []
    elif action == 1:
        items = items[: len(items) // 2]
    elif action == 2:
        items = items + items[:3]
    elif action == 3:
        items = [items[i] for i in rng.permutation(len(items))]
    elif items and not isinstance(value, bytes):
        i = rng.integers(len(items))
        items[i] = _mutated(copy.deepcopy(items[i]), kind, rng)
    return array.array(value.typecode, items) if isinstance(value, array.array) else items

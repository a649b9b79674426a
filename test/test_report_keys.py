"""Descriptions of report keys, and headlines."""

import pytest

from invdyn_ros.cli.benchmark import BENCHMARKS
from invdyn_ros.evaluation.headlines import HEADLINES, headline
from invdyn_ros.evaluation.report_keys.registry import (
    REPORT_KEYS,
    find_key,
    find_pattern,
    undescribed_keys,
    unused_keys,
)


def test_every_kind_of_report_has_keys_and_a_headline():
    kinds = {kind for kind in REPORT_KEYS if not kind.startswith("benchmark ")}
    assert kinds == HEADLINES.keys() - {"benchmark"}
    named = {kind.removeprefix("benchmark ") for kind in REPORT_KEYS} - kinds
    assert named == set(BENCHMARKS)


def test_headline_of_a_benchmark_names_what_should_be_zero():
    rows = {
        "ours": {"sent": 9, "received": 7, "violations": 2},
        "echo": {"sent": 9, "received": 9},
    }
    report = {"benchmark": "latency", "rows": rows, "ratio": {"ours": {"p50": 0.5}}}
    bad = [text for text, is_bad in headline("benchmark latency", report) if is_bad]
    assert bad == ["ours: received 7 of 9", "ours: 2 violations"]


@pytest.mark.parametrize("kind", REPORT_KEYS)
def test_descriptions_are_phrases(kind):
    for path, key in REPORT_KEYS[kind].items():
        assert len(key.description) > 3 and not key.description.endswith("."), path


def test_the_most_specific_entry_describes_a_key():
    kind = "benchmark sequence_length"
    assert find_pattern(kind, ("rows", "gru", "slope of s")) == "rows.*.slope of s"
    assert find_pattern(kind, ("rows", "gru", "s 100")) == "rows.*.*"
    assert find_key(kind, ("rows", "gru")) is None
    assert find_key("evaluate", ("latency_us", "p99")).unit == "us"
    assert undescribed_keys("evaluate", {"nmse": {"mean": 1, "median": 2}}) == ["nmse.median"]
    assert "nmse" not in unused_keys("evaluate", {"nmse": {}})

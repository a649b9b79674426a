from __future__ import annotations

from pathlib import Path

import pytest

from invdyn_ros.benchmarks.sequence_length import (
    SequenceLengthBenchmarkConfig,
    measure_sequence_length,
    slope,
)

BODIES = Path(__file__).parents[1] / "config" / "timeseries" / "checkpoints"


def test_slope_of_a_power_law_is_its_exponent() -> None:
    lengths = (100, 300, 1000, 3000)
    assert slope(lengths, [n**2 / 7 for n in lengths]) == pytest.approx(2)


def test_models_of_equal_name_are_refused() -> None:
    models = (BODIES / "hopper_identified_body", BODIES / "hopper_identified_body")
    with pytest.raises(ValueError, match="hopper_identified_body; give each another name"):
        measure_sequence_length(SequenceLengthBenchmarkConfig((), models))


@pytest.mark.slow
def test_costs_of_two_lengths_are_reported_and_drawn(tmp_path: Path) -> None:
    config = SequenceLengthBenchmarkConfig(
        ("gru_dt",), (), (50, 400), report=tmp_path / "lengths.json"
    )
    rows = measure_sequence_length(config)["rows"]
    assert rows.keys() == {"gru_dt, predict", "gru_dt, train"}
    assert rows["gru_dt, train"]["s 400"] > 0
    assert rows["gru_dt, train"]["MB 400"] > rows["gru_dt, train"]["MB 50"]
    assert (tmp_path / "lengths.png").stat().st_size > 10_000


def test_unknown_families_and_one_length_are_refused() -> None:
    with pytest.raises(ValueError, match="no time-series model"):
        measure_sequence_length(SequenceLengthBenchmarkConfig(("spline",)))
    with pytest.raises(ValueError, match="two lengths"):
        measure_sequence_length(SequenceLengthBenchmarkConfig(lengths=(100,)))

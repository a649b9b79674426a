"""Irregular joint states: dropout, datasets, and time-series models trained on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from collect_command import collect, refused
from spring_motions import JOINTS, RATE, spring_motion
from test_collect_bag import EFFORT, joint_states
from test_rosbag import record

from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    split_into_motions,
    subsample,
)
from invdyn_ros.models.timeseries.registry import build_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.sampling_dropout import (
    SamplingDropoutConfig,
    arrival_mask,
    drop_and_jitter,
)
from invdyn_ros.training.train_time_series import parse_time_series_config, train_time_series

Capture = pytest.CaptureFixture[str]


def spring_import(count: int = 3, samples: int = 500) -> ImportResult:
    trajectories = [spring_motion(k, samples) for k in range(count)]
    return ImportResult(trajectories, count * samples, {})


def burst_lengths(arrived: np.ndarray) -> np.ndarray:
    """Return the lengths of the bursts of dropped samples."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], arrived, [1]]).astype(int)))
    return np.diff(edges)[::2]


def test_dropout_leaves_the_other_samples_unchanged() -> None:
    before, config = spring_import(), SamplingDropoutConfig(drop=0.5)
    after = drop_and_jitter(before, config, 0)
    for full, result in zip(before.trajectories, after.trajectories, strict=True):
        remaining = np.isin(full.time, result.time)
        assert 0.4 < remaining.mean() < 0.6
        np.testing.assert_array_equal(full.position[remaining], result.position)
        np.testing.assert_array_equal(full.velocity[remaining], result.velocity)
    assert "samples dropped at random" in after.summary()
    again = drop_and_jitter(before, config, 0)
    np.testing.assert_array_equal(again.trajectories[1].time, after.trajectories[1].time)
    assert drop_and_jitter(before, SamplingDropoutConfig(), 0) is before


@pytest.mark.parametrize("burst_length", [2.0, 8.0])
def test_bursts_have_the_configured_mean_length_and_fraction(burst_length: float) -> None:
    arrived = arrival_mask(
        60_000,
        SamplingDropoutConfig(drop=0.4, mean_burst_length=burst_length),
        np.random.default_rng(0),
    )
    assert (~arrived).mean() == pytest.approx(0.4, abs=0.02)
    assert burst_lengths(arrived).mean() == pytest.approx(burst_length, rel=0.05)


def test_jittered_samples_lie_on_the_motion() -> None:
    """Not exact, as the velocities of semi-implicit Euler are off by a step."""
    (full,), config = spring_import(1).trajectories, SamplingDropoutConfig(jitter=0.9)
    (result,) = drop_and_jitter(spring_import(1), config, 0).trajectories
    steps = np.diff(result.time) * RATE
    assert len(result) == len(full) and steps.min() > 0.09 and steps.std() > 0.3
    near = np.interp(result.time, full.time, full.position[:, 0])
    assert np.abs(result.position[:, 0] - near).max() < 0.02 * np.ptp(full.position[:, 0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"drop": 1.0}, "drop is 1.0; it must be less than 1"),
        ({"jitter": -0.1}, "jitter is -0.1"),
        ({"drop": float("nan")}, "drop is nan"),
        (
            {"drop": 0.9, "mean_burst_length": 2.0},
            "mean_burst_length is 2.0; with a drop of 0.9 it must be at least 9",
        ),
    ],
)
def test_impossible_dropout_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingDropoutConfig(**fields)


def test_error_names_a_trajectory_without_samples() -> None:
    with pytest.raises(ValueError, match=r"[01] samples of trajectory 0 are left; drop fewer"):
        drop_and_jitter(spring_import(1, 20), SamplingDropoutConfig(drop=0.99), 0)


def test_an_arm_is_collected_as_its_joint_states_arrive(tmp_path: Path, capsys: Capture) -> None:
    arguments = (
        "sim",
        "--minutes",
        0.05,
        "--episode-seconds",
        3,
        "--candidates",
        1,
        "--workers",
        1,
    )
    irregular = ("--drop", 0.4, "--mean-burst-length", 3, "--jitter", 0.5)
    assert collect(tmp_path / "out", *arguments, *irregular) == 0
    assert "samples dropped at random" in capsys.readouterr().out
    (trajectory,), info = read_dataset(tmp_path / "out")
    assert info.rate == 125.0 and len(trajectory.acceleration) == 0
    steps = np.diff(trajectory.time) * info.rate
    assert steps.min() < 1 < 2 < steps.max()
    assert split_into_motions([trajectory], 20).size >= 1
    output = refused(tmp_path / "no", capsys, *arguments, "--drop", 1)
    assert "drop is 1.0; it must be less than 1" in output


def test_recording_keeps_its_stamps_on_request(tmp_path: Path) -> None:
    motion = joint_states()
    random = np.random.default_rng(0)
    rows = np.flatnonzero(random.random(len(motion)) < 0.6)
    bag = record(tmp_path / "bag", motion[rows])
    arguments = ("bag", bag, *EFFORT, "--resample", "off", "--max-gap", 1.0)
    assert collect(tmp_path / "out", *arguments) == 0
    (read,), info = read_dataset(tmp_path / "out")
    assert info.rate == 125.0 and len(read.acceleration) == 0
    np.testing.assert_allclose(read.time, motion.time[rows], atol=1e-6)
    np.testing.assert_array_equal(read.position, motion.position[rows])


def steady(time: torch.Tensor) -> torch.Tensor:
    """Return states (B, T, 2n) of joints with constant accelerations."""
    t, a = time[..., None], torch.linspace(-3, 2, len(JOINTS))
    return torch.cat([t + t**2 * a / 2, 1 + t * a], 2).float()


def test_an_untrained_bridge_is_exact_for_steady_acceleration_at_any_times() -> None:
    torch.manual_seed(0)
    model = build_time_series_model(TimeSeriesMetadata("bridge", "springs", JOINTS, RATE)).eval()
    regular = (torch.arange(50, dtype=torch.float64) / RATE).expand(5, -1)
    model.standardise(Motions(steady(regular), regular))
    time = torch.rand(20, 12, dtype=torch.float64).sort(1).values
    mask = torch.zeros(20, 12, dtype=torch.bool)
    mask[:, [0, 5, 11]] = True
    result = model.predict(Observations(steady(time), time, mask))
    torch.testing.assert_close(result, steady(time), rtol=0, atol=1e-5)


def train_bridge(folder: Path, change: Callable[[ImportResult], ImportResult]) -> TimeSeriesModel:
    trajectories = change(
        ImportResult([spring_motion(k) for k in range(200)], 200 * 60, {})
    ).trajectories
    write_dataset(folder / "data", trajectories, "springs", RATE)
    length = min(map(len, trajectories))
    fields = {
        "family": "bridge",
        "motion_length": length,
        "width": 64,
        "depth": 2,
        "samples_per_motion": 16,
    }
    fields |= {"epochs": 30, "batch_size": 16}
    return train_time_series(parse_time_series_config(fields, ""), folder / "data", folder / "out")


def test_bridge_learns_spring_motion_from_irregular_samples(tmp_path: Path) -> None:
    """The training intervals are irregular; the evaluation is on a regular grid."""
    irregular = SamplingDropoutConfig(drop=0.3, jitter=0.5)
    model = train_bridge(tmp_path, lambda data: drop_and_jitter(data, irregular, 0))
    part = split_into_motions([spring_motion(k) for k in range(300, 340)], 60)
    known = subsample(part.state, part.time, 0.1, 1)
    scale = torch.tensor([1.0, 6]).repeat_interleave(len(JOINTS))
    error, curve = (
        float(((result - part.state) / scale).square().mean())
        for result in (model.predict(known), interpolate(INTERPOLATORS["hermite"], known))
    )
    assert error < 0.3 * curve


def test_environment_starts_near_its_initial_state(tmp_path: Path, capsys: Capture) -> None:
    arguments = ("sim", "--arm", "InvertedPendulum-v5", "--episodes", 4, "--steps", 40)
    starts = []
    for k, more in enumerate(((), ("--perturbation", 1.0), ("--seed", 1))):
        assert collect(tmp_path / str(k), *arguments, *more) == 0
        trajectories, info = read_dataset(tmp_path / str(k))
        assert info.joint_names == ("slider", "hinge") and info.rate == 25.0
        assert [len(t) for t in trajectories] == [40] * 4
        starts.append(np.stack([t.position[0] for t in trajectories]))
    assert np.abs(starts[0]).max() < 0.12 < 0.3 < np.abs(starts[1]).max() < 1.02
    assert not np.allclose(starts[0], starts[2])
    assert collect(tmp_path / "again", *arguments) == 0
    again = [t.position[0] for t in read_dataset(tmp_path / "again").trajectories]
    np.testing.assert_array_equal(np.stack(again), starts[0])
    for name, message in (
        ("Ant-v5", "15 coordinates for 9"),
        ("Pendulum-v1", "no MuJoCo physics"),
    ):
        assert collect(tmp_path / "no", "sim", "--arm", name) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "again"]

"""Actions between irregular observations, and the benchmark of missing joint states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from arm_state_models import RATE, bridge, waves
from oracle import robot

from invdyn_ros.benchmarks.action_interpolation import action_errors
from invdyn_ros.cli import run_verb
from invdyn_ros.control.action_interpolation import actions_at, interpolate_actions
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.timeseries.observations import subsample
from invdyn_ros.models.timeseries.registry import save_time_series_model

UR5 = robot("ur5")


def motion(time: np.ndarray) -> Trajectory:
    states, none = 0.3 * waves(time), np.empty((0, 6))
    q, qd = np.split(states, 2, axis=1)
    return Trajectory(time, q + UR5.home, qd, none, none, UR5.joint_names, "N m")


def test_interpolated_actions_match_inverse_dynamics() -> None:
    random, inverse = np.random.default_rng(0), urdf_model(UR5, "N m")
    observed = motion(np.sort(random.uniform(0, 2, 120)))
    at = np.sort(random.uniform(observed.time[0] + 0.1, observed.time[-1] - 0.1, 40))
    states = 0.3 * waves(at)
    frequency = 1.0 + np.arange(6)
    expected = np.stack(
        [
            UR5.inverse_dynamics(q + UR5.home, v, -(frequency**2) * q)
            for q, v in zip(*np.split(states, 2, axis=1), strict=True)
        ]
    )
    predicted = interpolate_actions(bridge(), inverse, observed, at)
    assert np.abs(predicted - expected).max() < 0.05 * np.abs(expected - expected.mean(0)).max()
    order = random.permutation(40)
    np.testing.assert_allclose(
        interpolate_actions(bridge(), inverse, observed, at[order]), predicted[order]
    )


def test_bad_recordings_and_times_outside_are_refused() -> None:
    inverse, observed = urdf_model(UR5, "N m"), motion(np.linspace(0, 1, 60))
    none = np.empty((0, 6))
    without_velocity = Trajectory(
        observed.time, observed.position, none, none, none, UR5.joint_names, "N m"
    )
    wrong = [
        (bridge(), observed, [1.5], r"times 1\.5\.\.1\.5 s are outside the trajectory, 0\.0\.\.1"),
        (bridge(), observed, [-0.1], "are outside the trajectory"),
        (bridge(), observed, [np.nan], "nan"),
        (bridge(), without_velocity, [0.5], "the recording has no velocity"),
        (bridge(), observed[:1], [0.0], "1 samples are too few"),
        (bridge("dofbot"), observed, [0.5], "joints differ: joint_1"),
    ]
    for state_model, recording, times, message in wrong:
        with pytest.raises(ValueError, match=message):
            interpolate_actions(state_model, inverse, recording, np.array(times))


# the benchmark


def test_benchmark_drives_with_every_predictor(tmp_path: Path) -> None:
    save_time_series_model(bridge(), tmp_path / "bridge")
    arguments = ["--models", str(tmp_path / "bridge"), "--motions", "1", "--seconds", "1"]
    arguments += ["--drop-rates", "0", "0.5", "--report", str(tmp_path / "report.json")]
    assert run_verb("benchmark", ["joint_state_dropout", *arguments]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    names = [
        "last command",
        "last joint state",
        "constant velocity",
        "bridge, untrained",
        "bridge",
    ]
    assert list(report["rows"]) == names
    assert len({row["0%"] for row in report["rows"].values()}) == 1
    for name, row in report["rows"].items():
        low, high = report["details"][name]["50%"]
        assert 0 < low <= row["50%"] <= high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--drop-rates", "1"), "drop_rates[0] is 1.0; it must be less than 1"),
        (("--arm", "ur3"), "unknown arm 'ur3'"),
        (("--models", "no/such"), "no time-series model folder no/such"),
        (("--max-dropout", "-1"), "max_dropout is -1.0; it must be greater than or equal to 0"),
        (("--data", "no/such"), "no/such is not a dataset"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("benchmark", ["joint_state_dropout", *arguments]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr and stderr.count("\n") == 1


def test_actions_are_more_accurate_with_more_observations(tmp_path: Path) -> None:
    inverse, parts = urdf_model(UR5, "N m"), []
    for k in range(5):
        trajectory = motion(k + np.arange(400) / RATE)
        full = actions_at(inverse, trajectory, trajectory.time)
        parts.append(
            Trajectory(*(getattr(trajectory, x) for x in ("time", "position", "velocity")),
                       trajectory.acceleration, full, UR5.joint_names, "N m")
        )  # fmt: skip
    write_dataset(tmp_path / "data", parts, "ur5", RATE)
    rows = action_errors(tmp_path / "data", inverse, {"bridge": bridge()}, (0.5, 0.05))
    assert rows["bridge"]["nMSE 50%"] < rows["bridge"]["nMSE 5%"] < rows["linear"]["nMSE 5%"]
    assert rows["all states"]["nMSE 5%"] < 0.1
    assert rows["zero"]["nMSE 5%"] > 50
    with pytest.raises(ValueError, match="is of shoulder_pan_joint"):
        action_errors(tmp_path / "data", urdf_model(robot("dofbot"), "rad"), {}, (0.5,))


def test_subsample_hides_rows_of_every_motion() -> None:
    observed = torch.zeros(3, 40, 12), torch.arange(40.0).expand(3, -1).double()
    assert subsample(*observed, 0.25, 0).mask.sum(1).tolist() == [10, 10, 10]

"""Training and evaluation on a system without a URDF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.windows import split
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum
from invdyn_ros.training.action_delay import estimate_action_delay
from invdyn_ros.training.data_preparation import with_acceleration

CONFIGS = Path(__file__).parents[1] / "config" / "train"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets of a pendulum and of a heavier one, and a network trained on the first."""
    folder = tmp_path_factory.mktemp("no_urdf")
    for name, mass in (("nominal", 1.0), ("shifted", 2.0)):
        config = PendulumConfig(mass=mass, episodes=10, steps=150)
        write_dataset(folder / name, list(simulate_pendulum(config)), "pendulum", config.rate)
    small = ("--action-delay", 0, "--epochs", 60, "--width", 32, "--depth", 2, "--batch-size", 32)
    assert train("mlp", folder, *small) == 0
    return folder


def train(family: str, folder: Path, *arguments: object) -> int:
    options = ["--config", CONFIGS / f"{family}.yaml", "--data", folder / "nominal"]
    return run_verb(
        "train", [str(w) for w in (*options, "--out", folder / family, "--overwrite", *arguments)]
    )


def report(folder: Path, data: str) -> dict:
    options = {"checkpoint": folder / "mlp", "data": folder / data, "report": folder / "r.json"}
    arguments = [str(word) for name, path in options.items() for word in (f"--{name}", path)]
    assert run_verb("evaluate", [*arguments, "--overwrite"]) == 0
    return json.loads((folder / "r.json").read_text())


def test_network_is_trained_and_evaluated_without_rigid_bodies(folder: Path) -> None:
    result = report(folder, "nominal")
    assert set(result["baselines"]) == {"zero", "mean", "hold_last"}
    assert result["robot"] == "pendulum"
    assert result["nmse"]["mean"] < 0.02
    assert load(folder / "mlp").meta.urdf == ""


def test_shift_of_the_dynamics_raises_the_reported_error(folder: Path) -> None:
    before, after = (report(folder, name)["nmse"]["mean"] for name in ("nominal", "shifted"))
    assert after > 10 * before


def test_missing_urdf_is_reported_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("rigid_body", folder, "--action-delay", 0) == 2
    error = capsys.readouterr().err.strip()
    assert "rigid-body dynamics of pendulum need a URDF" in error and "\n" not in error
    assert "--urdf FILE" in error


@pytest.mark.parametrize("rows", [-3, 0, 2])
def test_delay_of_actions_is_estimated_without_a_urdf(folder: Path, rows: int) -> None:
    trajectories, info = read_dataset(folder / "nominal")
    moved = []
    for t in with_acceleration(trajectories):
        first, last = max(-rows, 0), len(t) - max(rows, 0)
        late = slice(first, last)
        action = t.action[first + rows : last + rows]
        moved.append(replace(t[late], action=action))
    meta = ModelMetadata("mlp", "pendulum", info.joint_names, info.action_unit, info.rate, 0.0, "")
    data = split(moved, 0.2, 0)
    assert estimate_action_delay(meta, data) == pytest.approx(rows / info.rate, abs=1e-9)

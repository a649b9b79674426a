"""Training and evaluation on a system without a URDF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.models.checkpoint import load
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum

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


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ("rigid_body", ("--action-delay", 0), "rigid-body dynamics of pendulum need a URDF"),
        ("mlp", (), "estimating the action delay takes the rigid-body model of 'pendulum'"),
    ],
)
def test_missing_urdf_is_reported_in_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    family: str,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    assert train(family, folder, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert "--urdf FILE" in error

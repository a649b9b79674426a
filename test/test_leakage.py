"""Detection of training data among test data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import excitation, robot

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.leakage import (
    at_rest,
    check_not_in_sketch,
    count_duplicates,
    drop_duplicates,
    row_sketch,
)
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import split
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum

CONFIG = Path(__file__).parents[1] / "config" / "train" / "mlp.yaml"


def sarcos_like(rows: int = 2000, parts: int = 10) -> list[Trajectory]:
    """Shuffle the rows of a motion, each twice, as in the usual split of SARCOS.

    In the original, 98.2% of the test rows are in the training file.
    """
    (motion,) = simulate_pendulum(PendulumConfig(episodes=1, steps=rows - 1))
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(rows), 2))
    count = len(order) // parts
    trajectories = []
    for k in range(parts):
        rows_k = order[k * count : (k + 1) * count]
        columns = {
            name: getattr(motion, name)[rows_k]
            for name in ("position", "velocity", "acceleration", "action")
        }
        trajectories.append(replace(motion, time=np.arange(count) / 50.0, **columns))
    return trajectories


def test_rows_shuffled_between_train_and_test_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"\d+ of 800 test rows \(\d+\.\d%\) are also training rows"
    ):
        split(sarcos_like())


def test_training_refuses_leakage_and_the_suggested_remedy_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unique = list(simulate_pendulum(PendulumConfig(episodes=10, steps=40)))
    repeated = [*unique, *(t[5:30] for t in unique)]
    write_dataset(tmp_path / "leak", repeated, "pendulum", 50.0)
    arguments = ["--config", CONFIG, "--action-delay", 0, "--epochs", 2, "--width", 8]

    def train(data: str) -> int:
        paths = ["--data", tmp_path / data, "--out", tmp_path / "model"]
        return run_verb("train", [str(word) for word in (*arguments, *paths)])

    assert train("leak") == 2
    error = capsys.readouterr().err
    assert "are also training rows" in error and "--drop-duplicates" in error
    assert not (tmp_path / "model").exists()
    clean = ["dataset", tmp_path / "leak", "--drop-duplicates", "--out", tmp_path / "clean"]
    assert run_verb("collect", list(map(str, clean))) == 0
    assert "-250 duplicates of earlier samples" in capsys.readouterr().out
    for old, new in zip(unique, read_dataset(tmp_path / "clean").trajectories, strict=True):
        np.testing.assert_array_equal(old.motion, new.motion)
    assert train("clean") == 0


def test_model_is_not_evaluated_on_a_copy_of_its_training_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PendulumConfig(episodes=20, steps=100)
    training, fresh = simulate_pendulum(config), list(simulate_pendulum(replace(config, seed=1)))
    write_dataset(tmp_path / "data", list(training), "pendulum", 50.0)
    data, out = str(tmp_path / "data"), str(tmp_path / "model")
    arguments = ["--config", str(CONFIG), "--action-delay", "0", "--epochs", "1", "--width", "8"]
    assert run_verb("train", [*arguments, "--data", data, "--out", out]) == 0
    first = read_dataset(data).trajectories[:10]
    for name, parts, code in (("mixed", [*first, *fresh], 2), ("fresh", fresh, 0)):
        write_dataset(tmp_path / name, parts, "pendulum", 50.0)
        paths = ["--data", str(tmp_path / name), "--report", str(tmp_path / "r.json")]
        capsys.readouterr()
        assert run_verb("evaluate", ["--checkpoint", out, *paths]) == code
    assert (
        run_verb("evaluate", ["--checkpoint", out, "--data", data, *paths[2:], "--overwrite"]) == 0
    )


def test_sketch_detects_one_repeated_row_in_fifty() -> None:
    training = list(simulate_pendulum(PendulumConfig(episodes=20)))
    fresh = list(simulate_pendulum(PendulumConfig(episodes=20, seed=1)))
    sketch = row_sketch(training)
    check_not_in_sketch(sketch, fresh)
    check_not_in_sketch([], training)  # an older checkpoint has no sketch
    leaked = [*fresh, *(part[:6] for part in training)]
    with pytest.raises(ValueError, match="are in the data the model was trained on"):
        check_not_in_sketch(sketch, leaked)


def test_duplicate_rows_of_an_arm_at_rest_are_not_leakage() -> None:
    ur5 = robot("ur5")
    still = excitation(ur5, 0, seconds=1.0)
    zero = np.zeros_like(still.position)
    still = replace(still, position=zero, velocity=zero, acceleration=zero, action=zero + 1.0)
    assert at_rest(still).all()
    parts = [still, excitation(ur5, 1, seconds=1.0), still, still]
    split(parts, 0.3)
    assert len(drop_duplicates(parts)) == 4


def test_rest_is_detected_from_positions_without_velocities() -> None:
    absent, n = np.empty((0, 1)), 6
    position = np.array([[0.0], [0.0], [0.1], [0.2], [0.2], [0.2]])
    walk = Trajectory(np.arange(n) / 10.0, position, absent, absent, absent, ("a",), "rad")
    np.testing.assert_array_equal(at_rest(walk), [True, True, False, False, True, True])


def test_only_duplicates_are_dropped() -> None:
    first, second = simulate_pendulum(PendulumConfig(episodes=2, steps=30))
    columns = ("position", "velocity", "acceleration", "action")
    mixed = {
        name: np.concatenate(
            [getattr(second, name)[:10], getattr(first, name)[3:9], getattr(second, name)[10:20]]
        )
        for name in columns
    }
    mixed_up = replace(second, time=np.arange(26) / 50.0, **mixed)
    unique = drop_duplicates([first, mixed_up])
    assert [len(part) for part in unique] == [31, 10, 10]
    assert count_duplicates(unique[:1], unique[1:]) == 0

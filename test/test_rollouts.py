from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.cli import run_verb
from invdyn_ros.dataset import read_dataset
from invdyn_ros.sources.rollouts import RolloutConfig, machine, rollouts

SHORT = RolloutConfig(episodes=3, steps=20)


def test_a_seed_gives_the_same_rollouts_and_another_does_not() -> None:
    first, again = list(rollouts("Hopper-v5", SHORT)), list(rollouts("Hopper-v5", SHORT))
    other = list(rollouts("Hopper-v5", RolloutConfig(3, 20, seed=1)))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.position, b.position)
        np.testing.assert_array_equal(a.action, b.action)
        assert not np.array_equal(a.position[0], c.position[0])


def test_starts_are_off_by_the_perturbation_and_forces_move_it() -> None:
    made = list(rollouts("Hopper-v5", SHORT))
    home = machine("Hopper-v5").init_qpos
    offsets = np.stack([t.position[0] - home for t in made])
    assert 0.1 < np.abs(offsets).max() <= SHORT.perturbation
    for trajectory in made:
        assert (trajectory.action[:, :3] == 0).all()  # no motor moves the trunk
        assert (np.abs(trajectory.action[:, 3:]).max(0) > 1).all()
        moved = np.diff(trajectory.position, axis=0) * trajectory.rate
        middle = (trajectory.velocity[1:] + trajectory.velocity[:-1]) / 2
        assert np.abs(moved - middle)[:, 3:].mean() < 0.2 * np.abs(middle[:, 3:]).mean()


def test_the_command_line_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    arguments = ["gym", "Hopper-v5", "--out", out, "--episodes", "2", "--steps", "10"]
    assert run_verb("collect", arguments) == 0
    dataset = read_dataset(out)
    assert len(dataset.trajectories) == 2
    assert dataset.info.rate == pytest.approx(125)
    for name, message in (("Ant-v5", "more than one angle"), ("CartPole-v1", "Hopper-v5")):
        assert run_verb("collect", ["gym", name, "--out", str(tmp_path / name)]) != 0
        assert message in capsys.readouterr().err
        assert not (tmp_path / name).exists()

"""A model family is its module, an entry in MODELS and a config file; every verb then works."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from oracle import excitation, robot
from torch import Tensor, nn

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import FeatureConfig, NeuralNetwork
from invdyn_ros.models.registry import MODELS
from invdyn_ros.models.runtime import load_runtime

ARM = robot("ur5")


@dataclass(frozen=True)
class LinearConfig(FeatureConfig):
    """Config of the linear family."""


class Linear(NeuralNetwork):
    """Linear regression on the features of one frame."""

    Config = LinearConfig
    config: LinearConfig

    def __init__(self, meta: ModelMetadata) -> None:
        super().__init__(meta)
        self.linear = nn.Linear(self.feature_dim, self.n)

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        return self.linear(self.features(motion))


def verb(name: str, **options: Path) -> None:
    """Run a verb of the command line."""
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert run_verb(name, arguments) == 0


def test_new_family_trains_evaluates_labels_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "linear", Linear)
    data, checkpoint = tmp_path / "data", tmp_path / "checkpoint"
    write_dataset(data, [excitation(ARM, k, seconds=2.0) for k in range(6)], "ur5", ARM.rate)
    config = tmp_path / "linear.yaml"
    fields = {"family": "linear", "action_delay": 0.0, "epochs": 100, "batch_size": 64}
    config.write_text(yaml.safe_dump(fields))

    verb("train", config=config, data=data, out=checkpoint)
    model = load(checkpoint)
    assert type(model) is Linear and model.meta.data["epochs"] == 100

    verb("evaluate", checkpoint=checkpoint, data=data, report=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["nmse"]["mean"] < report["baselines"]["mean"]["nmse"]["mean"]

    verb("label", checkpoint=checkpoint, data=data, out=tmp_path / "labels", workers=Path("1"))
    labelled = read_dataset(tmp_path / "labels").trajectories
    assert len(labelled) == 6 and all(np.isfinite(t.action).all() for t in labelled)

    verb("export", checkpoint=checkpoint, out=tmp_path / "linear.onnx")
    assert load_runtime(tmp_path / "linear.onnx").meta == model.meta


@pytest.mark.parametrize("family", MODELS)
def test_each_family_has_a_config_file(family: str) -> None:
    path = Path(__file__).parent.parent / "config/train" / f"{family}.yaml"
    assert yaml.safe_load(path.read_text())["family"] == family

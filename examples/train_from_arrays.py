"""Train a model of inverse dynamics from plain arrays: a damped pendulum of unknown mass."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.registry import build  # noqa: F401  (all families are registered on import)
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

RATE = 100.0  # [Hz]
rng = np.random.default_rng(0)


def recording(seconds: float = 4.0) -> Trajectory:
    """Return a motion (T, 1) of three sines, and the torque that a pendulum needs for it."""
    time = np.arange(int(seconds * RATE)) / RATE
    frequency, phase, amplitude = rng.uniform([1, 0, 0.2], [6, 2 * np.pi, 0.6], (3, 3)).T
    angle = time[:, None] * frequency + phase
    q = (amplitude * np.sin(angle)).sum(1, keepdims=True)
    qd = (amplitude * frequency * np.cos(angle)).sum(1, keepdims=True)
    qdd = (-amplitude * frequency**2 * np.sin(angle)).sum(1, keepdims=True)
    torque = 1.5 * qdd + 0.2 * qd + 1.5 * 9.81 * np.sin(q)  # [N m], 1.5 kg at 1 m
    return Trajectory(time, q, qd, qdd, torque, ("hinge",), "N m")


recordings = [recording() for _ in range(20)]
with TemporaryDirectory() as folder:
    data, out = Path(folder) / "data", Path(folder) / "model"
    write_dataset(data, recordings, robot="pendulum", rate=RATE)
    config = {"family": "mlp", "width": 64, "epochs": 20, "batch_size": 64, "action_delay": 0.0}
    model = train(parse_train_config(config, "this script"), data, out)

test = [recording() for _ in range(5)]
report = evaluate(model, test)
nmse, zero = report["nmse"]["mean"], report["baselines"]["zero"]["nmse"]["mean"]
print(f"nMSE {100 * nmse:.2f}% on new motions, {100 * zero:.0f}% when predicting zero")
sys.exit(nmse > 0.1 * zero)

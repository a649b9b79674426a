"""Train a model of inverse dynamics from plain arrays: a damped pendulum of unknown mass."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import invdyn_ros

RATE = 100.0  # [Hz]
rng = np.random.default_rng(0)


def recording(seconds: float = 4.0) -> invdyn_ros.Trajectory:
    """Return a motion (T, 1) of three sines, and the torque that a pendulum needs for it."""
    time = np.arange(int(seconds * RATE)) / RATE
    frequency, phase, amplitude = rng.uniform([1, 0, 0.2], [6, 2 * np.pi, 0.6], (3, 3)).T
    angle = time[:, None] * frequency + phase
    q = (amplitude * np.sin(angle)).sum(1, keepdims=True)
    qd = (amplitude * frequency * np.cos(angle)).sum(1, keepdims=True)
    qdd = (-amplitude * frequency**2 * np.sin(angle)).sum(1, keepdims=True)
    torque = 1.5 * qdd + 0.2 * qd + 1.5 * 9.81 * np.sin(q)  # [N m], 1.5 kg at 1 m
    return invdyn_ros.Trajectory(time, q, qd, qdd, torque, ("hinge",), "N m")


recordings, test = [recording() for _ in range(20)], [recording() for _ in range(5)]
settings = {"width": 64, "epochs": 20, "batch_size": 64, "action_delay": 0.0}
with TemporaryDirectory() as folder:
    model = invdyn_ros.train(recordings, Path(folder) / "model", "mlp", **settings)
    report = invdyn_ros.evaluate(model, test)
nmse, zero = report["nmse"]["mean"], report["baselines"]["zero"]["nmse"]["mean"]
print(f"nMSE {100 * nmse:.2f}% on new motions, {100 * zero:.0f}% when predicting zero")
sys.exit(nmse > 0.1 * zero)

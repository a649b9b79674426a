"""Error of payloads that are identified from two simulated recordings, without and with them."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from invdyn_ros.benchmarks.report import Row
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.payload_recordings import payload_of_recordings

MASSES = (0.3, 3.0)  # [kg] least and largest
MAX_OFFSET = 0.1  # [m] of the centre of mass from the tip, in each direction
SIZE = (0.03, 0.12)  # [m] least and largest edge of the payload, a box


def payload_row(arm: str, trials: int, minutes: float) -> Row:
    """Return the errors of payloads with random mass, centre and size.

    The two recordings of a trial are of different motions.

    Args:
        arm: name of the arm.
        trials: number of payloads.
        minutes: duration of each recording [min].
    """
    robot = replace(load_robot(arm), gripper=None)
    errors, inside = [], []
    for trial in tqdm(range(trials), unit="payload", file=sys.stderr):
        true = random_payload(robot, np.random.default_rng(trial))
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "without", Path(folder) / "with"
            for k, model in enumerate((robot, robot.carrying(true))):
                config = ExcitationConfig(minutes=minutes, seed=2 * trial + k)
                episodes = list(simulate(model, config, load_plant(arm, payload=0.0), "N m"))
                write_dataset(paths[k], episodes, arm, robot.rate)
            identified = payload_of_recordings(*paths, robot)
        errors.append(
            (
                100 * abs(identified.mass / true.mass - 1),
                1e3 * np.linalg.norm(np.subtract(identified.center, true.center)),
            )
        )
        assert identified.mass_ci95 is not None and identified.center_ci95 is not None
        values = (true.mass, *true.center)
        intervals = (identified.mass_ci95, *identified.center_ci95)
        inside += [a <= x <= b for x, (a, b) in zip(values, intervals, strict=True)]
    mass, center = np.array(errors).T
    return {
        "payloads": float(trials),
        "worst mass error": float(mass.max()),
        "median mass error": float(np.median(mass)),
        "worst center error mm": float(center.max()),
        "median center error mm": float(np.median(center)),
        "within 95% interval": 100 * float(np.mean(inside)),
    }


def random_payload(robot: Robot, random: np.random.Generator) -> Payload:
    """Return a box of random mass, size and place at the tip of an arm."""
    mass = float(np.exp(random.uniform(*np.log(MASSES))))
    squares = random.uniform(*SIZE, 3) ** 2
    x, y, z = (mass / 12 * (squares.sum() - squares)).tolist()
    center = tuple(random.uniform(-MAX_OFFSET, MAX_OFFSET, 3).tolist())
    inertia = ((x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z))
    return Payload(robot.tip_link, mass, center, inertia)

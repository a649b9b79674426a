"""`invdyn train_grasp`: train a grasp policy in simulation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from invdyn_ros.cli.options import override, parse
from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.learning.evaluation import EvaluationResult
from invdyn_ros.grasp.learning.run import grasp_task
from invdyn_ros.grasp.learning.train import train_grasp
from invdyn_ros.robots.robot import package_file


@dataclass(frozen=True)
class TrainGraspOptions(OutputOptions):
    """Train a grasp policy; `--field value` overrides a field of the config file.

    `--noise` is the domain randomization level: none, default or hard.
    """

    out: Path
    """Folder for the best policy, the state of the run and its logs."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; by default that of the config file."""
    algorithm: str | None = None
    """dagger, sac, tqc or ppo; by default that of the config file."""
    config: Path | None = None
    """YAML file; by default the one shipped for the algorithm."""
    total_timesteps: int | None = None
    """Sum of the steps of all environments; by default that of the config file."""
    resume: bool = False
    """Resume the run in --out."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(TrainGraspOptions, argv, "train_grasp", return_unknown_args=True)
    config = read_config(options, rest)
    with tqdm(
        total=config.total_timesteps,
        unit="step",
        desc=config.algorithm,
        file=sys.stderr,
        mininterval=1,
    ) as bar:

        def callback(timesteps: int, best: EvaluationResult | None) -> None:
            bar.set_postfix_str(f"best {best}" if best else "", refresh=False)
            bar.update(timesteps - bar.n)

        best = train_grasp(config, grasp_task(config), options.out, options.resume, callback)
    print(
        f"{options.out}: {config.algorithm} for {config.arm}, "
        f"best after {best.timesteps} steps: {best}"
    )
    return 0


def read_config(options: TrainGraspOptions, rest: list[str]) -> GraspTrainConfig:
    """Return the settings of the config file, overridden by those of the command line.

    Raises:
        ValueError: no such file, algorithm or field.
    """
    name = GraspTrainConfig(algorithm=options.algorithm or GraspTrainConfig.algorithm).algorithm
    file = options.config or package_file(f"config/grasp/{name}.yaml")
    values = load_yaml(file)
    for field in ("arm", "algorithm", "total_timesteps"):
        if getattr(options, field) is not None:
            values[field] = getattr(options, field)
    return from_mapping(GraspTrainConfig, override(values, rest), str(file))

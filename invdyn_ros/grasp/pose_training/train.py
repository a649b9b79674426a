"""Training of the block pose network.

It proceeds in rounds, as in DAgger (Ross et al. 2011, arXiv:1011.0686). In the first round, the
scripted policy uses marker detections; in each further one, it uses the detections of the previous
round's network, including their errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS
from invdyn_ros.config import Validated, load_json, to_mapping
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.estimation.block_pose_estimator import (
    area_centre,
    decode_prediction,
    landmarks,
)
from invdyn_ros.grasp.estimation.block_pose_network import (
    BlockPoseMetadata,
    BlockPoseNet,
    BlockPoseNetConfig,
    load_block_pose_net,
    save_block_pose_net,
)
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.grasp.pose_training.loss import BlockPoseFitConfig, fit, predict_all, total_steps
from invdyn_ros.grasp.pose_training.metrics import fit_std_scale, pose_metrics, select
from invdyn_ros.grasp.pose_training.rendered_dataset import (
    DatasetRenderer,
    DatasetRenderingConfig,
    RenderedImages,
    load_rendered_images,
)
from invdyn_ros.grasp.pose_training.sampled_states import (
    EpisodeJob,
    StateSamples,
    collect_states,
    concatenate_states,
)
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.workers import JobExecutor

# Offsets from the seed of training.
VAL_SEED_OFFSET, TEST_SEED_OFFSET, EVAL_SEED_OFFSET = 2_000_000, 4_000_000, 5_000_000
ROUND_SEED_STRIDE = 1000
NOISE_LEVELS = ("default", "hard")
RANDOMIZATIONS = RANDOMIZATION_LEVELS[NOISE_LEVELS[0]], RANDOMIZATION_LEVELS[NOISE_LEVELS[1]]
REPORT_FILE, CONFIG_FILE = "block_pose.json", "settings.json"
CHANGEABLE_FIELD = "eval_episodes"  # setting that a resumed run may change

ProgressCallback = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class BlockPoseTrainConfig(Validated):
    """Settings of a training run of a block pose network.

    Attributes:
        arm: name of the arm, which needs a gripper and a scene.
        seed: random seed of the whole run.
        rounds: number of rounds of data collection and training.
        episodes: simulated episodes per round, half with noise default, half with hard.
        images: rendered images per round.
        val_images: number of validation images, for calibration; there are as many test images.
        eval_episodes: episodes of the scripted policy after training, at each noise level.
        network: architecture of the network.
        rendering: content of the images.
        fit: settings of the optimization.
    """

    arm: str = "ur5"
    seed: NonNegativeInt = 0
    rounds: PositiveInt = 2
    episodes: Annotated[int, Field(ge=2)] = 60
    images: PositiveInt = 20_000
    val_images: PositiveInt = 3_000
    eval_episodes: NonNegativeInt = 200
    network: BlockPoseNetConfig = field(default_factory=BlockPoseNetConfig)
    rendering: DatasetRenderingConfig = field(default_factory=DatasetRenderingConfig)
    fit: BlockPoseFitConfig = field(default_factory=BlockPoseFitConfig)

    def __post_init__(self) -> None:
        """Check that the arm can grasp a block."""
        super().__post_init__()
        GraspEnvConfig(self.arm)


class BlockPoseTraining:
    """A training run, whose folder holds the images and the network of each round."""

    def __init__(
        self,
        config: BlockPoseTrainConfig,
        out: Path,
        callback: ProgressCallback,
        executor: JobExecutor | None,
    ) -> None:
        """Prepare a run; see `train_block_pose` for the arguments."""
        self.config, self.out, self.callback = config, out.absolute(), callback
        self.executor = executor
        scene = load_scene(config.arm)
        self.meta = BlockPoseMetadata(
            config.arm,
            scene.block_size,
            area_centre(scene),
            landmarks(scene),
            config.network,
            data={"settings": to_mapping(config)},
        )

    def train(self) -> dict[str, Any]:
        """Train the remaining rounds and evaluate the network; return the metrics."""
        self._check_settings()
        network = self._untrained_network()
        for number in range(self.config.rounds):
            directory = self.out / f"round_{number}"
            if (directory / METADATA_FILE).is_file():
                network = load_block_pose_net(directory, self.config.arm)
            else:
                network = self._train_round(number, network)
                save_block_pose_net(network, directory)
        save_block_pose_net(network, self.out)
        report = self._evaluate(network)
        write_json(self.out / REPORT_FILE, report)
        return report

    def _untrained_network(self) -> BlockPoseNet:
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            return BlockPoseNet(self.meta)

    def _check_settings(self) -> None:
        """Write the settings of a new run, or compare them with those of the resumed one."""
        path = self.out / CONFIG_FILE
        settings = json.loads(json.dumps(self.meta.data["settings"]))
        if not path.is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(path, settings)
            return
        previous = load_json(path, "give another --out")
        for name in settings.keys() - {CHANGEABLE_FIELD}:
            if settings[name] != previous.get(name):
                raise ValueError(
                    f"{self.out} holds a run with {name} {previous.get(name)}, not "
                    f"{settings[name]}; give the same value or another folder"
                )

    def _train_round(self, number: int, network: BlockPoseNet) -> BlockPoseNet:
        """Collect and render data, train on the data of all rounds, and calibrate."""
        config = self.config
        datasets = [self._dataset(f"round_{k}", k, config.images) for k in range(number + 1)]
        steps, label = total_steps(datasets, config.fit), f"round {number}: training"
        losses: list[float] = []

        def on_step(loss: float) -> None:
            losses.append(loss)
            recent = losses[-100:]
            self.callback(label, len(losses), steps, f"loss {sum(recent) / len(recent):.3f}")

        fit(network, datasets, config.fit, config.seed + number, on_step)
        val = self._dataset("val", 0, config.val_images, VAL_SEED_OFFSET)
        uncalibrated = decode_prediction(predict_all(network, val), (1.0, 1.0))
        std_scale = fit_std_scale(uncalibrated, val.labels)
        return network.with_metadata(replace(self.meta, std_scale=std_scale))

    def _dataset(self, name: str, number: int, count: int, seed_offset: int = 0) -> RenderedImages:
        """Return the images of a dataset; render them if its folder has none.

        Args:
            name: name of the folder.
            number: number of the round.
            count: number of images.
            seed_offset: seed of validation or test images minus that of training images.
        """
        config, directory = self.config, self.out / "images" / name
        rendered = load_rendered_images(directory)
        if rendered is not None:
            return rendered
        seed = config.seed + seed_offset + ROUND_SEED_STRIDE * number
        states = concatenate_states(
            [self._collect_states(name, number, noise, seed) for noise in NOISE_LEVELS]
        )
        robot, scene = load_robot(config.arm), load_scene(config.arm)
        pixels, label = config.network.pixels, f"{name}: rendering"
        with closing(DatasetRenderer(robot, scene, states, pixels, config.rendering)) as renderer:
            return renderer.render(
                directory,
                count,
                seed,
                RANDOMIZATIONS,
                lambda done: self.callback(label, done, count, ""),
                self.executor,
            )

    def _collect_states(self, name: str, number: int, noise: str, seed: int) -> StateSamples:
        """Run half the episodes of a round, at one noise level, and return sampled states.

        Args:
            name: name of the dataset, for progress reports.
            number: number of the round.
            noise: domain randomization level.
            seed: seed of the dataset.
        """
        label, episodes = f"{name}: collecting, noise {noise}", self.config.episodes // 2
        model = str(self.out / f"round_{number - 1}") if number else ""

        def on_episode(episode: int, successes: int) -> None:
            self.callback(label, episode, episodes, f"{successes} of {episode} succeed")

        job = EpisodeJob(
            *(self.config.arm, noise, model, seed + NOISE_LEVELS.index(noise)), range(episodes)
        )
        return collect_states(job, on_episode, self.executor)

    def _evaluate(self, network: BlockPoseNet) -> dict[str, Any]:
        """Return metrics on validation and test images, and success rates with the network."""
        config, report = self.config, {}
        for name, seed_offset in (("val", VAL_SEED_OFFSET), ("test", TEST_SEED_OFFSET)):
            dataset = self._dataset(name, 0, config.val_images, seed_offset)
            prediction = decode_prediction(predict_all(network, dataset), network.meta.std_scale)
            labels = dataset.labels
            is_default = labels["noise_level"] == 0
            masks = {
                "noise_default": is_default,
                "noise_default_home": is_default & (labels["at_home"] > 0),
                "noise_hard": labels["noise_level"] == 1,
            }
            report[name] = {
                part: pose_metrics(*select(prediction, labels, mask))
                for part, mask in masks.items()
            }
        if config.eval_episodes:
            report["rollouts"] = {
                f"noise_{noise}": self._evaluate_policy(noise, config.eval_episodes)
                for noise in NOISE_LEVELS
            }
        return report

    def _evaluate_policy(self, noise: str, episodes: int) -> dict[str, Any]:
        """Return the success rate of the scripted policy with the network's detections."""
        successes = 0

        def on_episode(episode: int, count: int) -> None:
            nonlocal successes
            successes = count
            label = f"evaluation, noise {noise}"
            self.callback(label, episode, episodes, f"{count} of {episode} succeed")

        seed = self.config.seed + EVAL_SEED_OFFSET
        job = EpisodeJob(self.config.arm, noise, str(self.out), seed, range(episodes))
        collect_states(job, on_episode, self.executor)
        return {
            "policy": "scripted",
            "episodes": episodes,
            "successes": successes,
            "ci95": success_interval(successes, episodes),
        }


def train_block_pose(
    config: BlockPoseTrainConfig,
    out: str | Path,
    callback: ProgressCallback = lambda label, done, total, note: None,
    executor: JobExecutor | None = None,
) -> dict[str, Any]:
    """Train a block pose network, or resume a run in the same folder with the same settings.

    Args:
        config: settings of the run.
        out: folder for the network and its training images.
        callback: called with a label of the present stage, its finished and total number of
            steps, and a note.
        executor: simulates and renders, with the same files at the same paths; None: this process.
            The network does not depend on it.

    Returns:
        Metrics of the network, which are also written to block_pose.json in the folder.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    return BlockPoseTraining(config, Path(out), callback, executor).train()

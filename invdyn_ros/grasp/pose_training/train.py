"""Learning to see: an arm and settings enter, a network that finds the block leaves.

In rounds: the first gathers moments while the script acts by markers, each further one while it
acts by what the network of the round before sees, mistakes and all (Ross et al. 2011, DAgger).
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
from invdyn_ros.config import Validated, to_mapping
from invdyn_ros.grasp.envs.grasp_env import GraspEnv, GraspEnvConfig
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
    RenderedImages,
    RenderingConfig,
    StateSamples,
    collect_states,
    concatenate_states,
    load_rendered_images,
)
from invdyn_ros.models.checkpoint import METADATA_FILE, write_atomically
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

# Seeds of these start this far from those of training.
VALIDATION, TEST, TRIALS = 2_000_000, 4_000_000, 5_000_000
NAMES = ("default", "hard")  # levels of noise
LEVELS = RANDOMIZATION_LEVELS[NAMES[0]], RANDOMIZATION_LEVELS[NAMES[1]]
REPORT_FILE, CONFIG_FILE = "block_pose.json", "settings.json"
FREE = "eval_episodes"  # may change while a run goes on

Show = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class BlockPoseTrainConfig(Validated):
    """How a network learns to see.

    Attributes:
        arm: its name; it needs a gripper and a scene.
        seed: of everything.
        rounds: how often pictures are gathered; from the second on the network leads the arm.
        episodes: of each round, half of them with noise default, half hard.
        pictures: drawn in each round.
        validation: pictures that calibrate the network; as many test it at last.
        trials: episodes of each noise in which the script acts by what it sees, at last.
        network: its size.
        drawing: what the pictures show.
        fit: how the weights are moved.
    """

    arm: str = "ur5"
    seed: NonNegativeInt = 0
    rounds: PositiveInt = 2
    episodes: Annotated[int, Field(ge=2)] = 60
    images: PositiveInt = 20_000
    val_images: PositiveInt = 3_000
    eval_episodes: NonNegativeInt = 200
    network: BlockPoseNetConfig = field(default_factory=BlockPoseNetConfig)
    rendering: RenderingConfig = field(default_factory=RenderingConfig)
    fit: BlockPoseFitConfig = field(default_factory=BlockPoseFitConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be seen."""
        super().__post_init__()
        GraspEnvConfig(self.arm)


class BlockPoseTraining:
    """One run in its folder: pictures and networks of each round, the last one in the folder."""

    def __init__(self, config: BlockPoseTrainConfig, out: Path, show: Show) -> None:
        """Prepare a run; see `learn_to_see`."""
        self.config, self.out, self.show = config, out, show
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
        """Go through the rounds that are not done, then try out the network."""
        self._agree()
        sight = self._fresh()
        for number in range(self.config.rounds):
            done = self.out / f"round_{number}"
            if (done / METADATA_FILE).is_file():
                sight = load_block_pose_net(done, self.config.arm)
            else:
                sight = self._round(number, sight)
                save_block_pose_net(sight, done)
        save_block_pose_net(sight, self.out)
        report = self._report(sight)
        write_atomically(self.out / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())
        return report

    def _fresh(self) -> BlockPoseNet:
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            return BlockPoseNet(self.meta)

    def _agree(self) -> None:
        """Note the settings, or refuse others than those of the run that is there already."""
        path, wanted = self.out / CONFIG_FILE, json.loads(json.dumps(self.meta.data["settings"]))
        if not path.is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(wanted, indent=2) + "\n").encode())
            return
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in wanted.keys() - {FREE}:
            if wanted[name] != found.get(name):
                raise ValueError(
                    f"{self.out} holds a run with {name} {found.get(name)}, not {wanted[name]}; "
                    "keep it the same or take another folder"
                )

    def _round(self, number: int, sight: BlockPoseNet) -> BlockPoseNet:
        """Gather, draw, fit and calibrate."""
        config = self.config
        sets = [self._pictures(f"round_{k}", k, config.images) for k in range(number + 1)]
        steps, name = total_steps(sets, config.fit), f"round {number}: learning"
        losses: list[float] = []

        def show(loss: float) -> None:
            losses.append(loss)
            recent = losses[-100:]
            self.show(name, len(losses), steps, f"loss {sum(recent) / len(recent):.3f}")

        fit(sight, sets, config.fit, config.seed + number, show)
        held = self._pictures("validation", 0, config.val_images, VALIDATION)
        raw = decode_prediction(predict_all(sight, held), (1.0, 1.0))
        return sight.with_metadata(replace(self.meta, std_scale=fit_std_scale(raw, held.labels)))

    def _pictures(self, name: str, number: int, count: int, apart: int = 0) -> RenderedImages:
        """Return pictures of a folder, which are drawn if they are not there."""
        config, directory = self.config, self.out / "images" / name
        known = load_rendered_images(directory)
        if known is not None:
            return known
        seed = config.seed + apart + 1000 * number
        moments = concatenate_states([self._gather(name, number, level, seed) for level in NAMES])
        robot, scene = load_robot(config.arm), load_scene(config.arm)
        side = config.network.pixels
        with closing(DatasetRenderer(robot, scene, moments, side, config.rendering)) as draughts:
            label = f"{name}: drawing"
            return draughts.render(
                directory, count, seed, LEVELS, lambda n: self.show(label, n, count, "")
            )

    def _gather(self, name: str, number: int, level: str, seed: int) -> StateSamples:
        """Return the moments of half the episodes of a round, all with one level of noise."""
        label, half = f"{name}: gathering, noise {level}", self.config.episodes // 2
        sight = str(self.out / f"round_{number - 1}") if number else ""

        def show(episode: int, successes: int) -> None:
            self.show(label, episode, half, f"{successes} of {episode} succeed")

        with closing(
            GraspEnv(arm=self.config.arm, noise=level, block_pose_model=sight)
        ) as environment:
            return collect_states(environment, half, seed + NAMES.index(level), show)

    def _report(self, sight: BlockPoseNet) -> dict[str, Any]:
        """Return how well the network sees pictures of apart episodes, and how the script does."""
        config, report = self.config, {}
        for name, apart in (("validation", VALIDATION), ("test", TEST)):
            pictures = self._pictures(name, 0, config.val_images, apart)
            belief, facts = (
                decode_prediction(predict_all(sight, pictures), sight.meta.std_scale),
                pictures.labels,
            )
            report[name] = {
                part: pose_metrics(*select(belief, facts, chosen))
                for part, chosen in (
                    ("default", facts["noise_level"] == 0),
                    ("default_home", (facts["noise_level"] == 0) & (facts["at_home"] > 0)),
                    ("hard", facts["noise_level"] == 1),
                )
            }
        if config.eval_episodes:
            report["rollouts"] = {level: self._try(level, config.eval_episodes) for level in NAMES}
        return report

    def _try(self, level: str, episodes: int) -> dict[str, Any]:
        """Return how the script does by what the network sees, with a level of noise."""
        successes = 0

        def show(episode: int, count: int) -> None:
            nonlocal successes
            successes = count
            label = f"trials, noise {level}"
            self.show(label, episode, episodes, f"{count} of {episode} succeed")

        arm, sight = self.config.arm, str(self.out)
        with closing(GraspEnv(arm=arm, noise=level, block_pose_model=sight)) as environment:
            collect_states(environment, episodes, self.config.seed + TRIALS, show)
        return {
            "policy": "scripted",
            "episodes": episodes,
            "successes": successes,
            "ci95": success_interval(successes, episodes),
        }


def train_block_pose(
    config: BlockPoseTrainConfig,
    out: str | Path,
    callback: Show = lambda what, done, total, note: None,
) -> dict[str, Any]:
    """Learn to see, or go on where a run in the same folder with the same settings ended.

    Args:
        config: how.
        out: folder for the network, and for the pictures it learns from.
        show: called with what is being done, how much of it is done, of how much, and a note.

    Returns:
        How well the network sees; also written there as block_pose.json.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    return BlockPoseTraining(config, Path(out), callback).train()

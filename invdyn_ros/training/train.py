"""A config and a dataset enter; a checkpoint of any family leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from invdyn_ros.config import from_mapping, to_mapping
from invdyn_ros.control.fallback import fallback_metadata
from invdyn_ros.data.dataset import Dataset, read_dataset
from invdyn_ros.data.leakage import fingerprint, row_sketch
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, split, whole_trajectories, windows
from invdyn_ros.models import MODELS, InverseDynamics, ModelMetadata, build
from invdyn_ros.models.checkpoint import load, save, select_device, write_atomically
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot
from invdyn_ros.training.action_delay import estimate_action_delay, urdf_compliance
from invdyn_ros.training.distributed import joined
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.tensorboard_log import TrainingLog
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import Progress, RunState

LOGS = "tensorboard"
Run = TypeVar("Run", bound=Any)


@dataclass(frozen=True)
class TrainConfig:
    """One training run; a config file also holds the fields of its family, beside these."""

    family: str
    """Model family, a key of MODELS."""
    seed: int = 0
    """Of the split, the first weights and the batch order."""
    split_seed: int | None = None
    """Of the split alone; none: `seed`."""
    test_fraction: float = 0.2
    """Share set aside for `evaluate`; the same share of the rest is for validation."""
    action_delay: float | None = None
    """[s] The action at time t makes the motion at t + action_delay; none: estimated from the data."""
    init_from: str | None = None
    """Checkpoint of this family and arm to learn on from, with its shape; none: fresh weights."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to compute."""
    threads: int = 1
    """CPU threads of torch."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Gradient descent, for families that need it."""
    model: dict[str, Any] = field(default_factory=dict)
    """The family's own fields."""

    @property
    def resolved_split_seed(self) -> int:
        """Seed of the split."""
        return self.seed if self.split_seed is None else self.split_seed


def parse_config(values: Mapping[str, Any], where: str) -> TrainConfig:
    """Sort the flat fields of a config file into run, optimizer and family.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    return parse_run(TrainConfig, MODELS, values, where)


def parse_run(
    kind: type[Run], families: Mapping[str, Any], values: Mapping[str, Any], where: str
) -> Run:
    """Sort the flat fields of a config file into a run, its optimizer and one of some families.

    Args:
        kind: dataclass of a run with `family`, `optimizer` and `model` among its fields.
        families: name -> class with the dataclass `Config`.
        values: the fields.
        where: what messages call the file.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    family: Any = values.get("family")
    if family not in families:
        raise ValueError(f"{where}: family is {family!r}; known are {', '.join(families)}")
    own = [name for name in _names(kind) if name not in ("optimizer", "model")]
    known = {
        "": own,
        "optimizer": _names(OptimizerConfig),
        "model": _names(families[family].Config),
    }
    groups: dict[str, dict[str, Any]] = {group: {} for group in known}
    for name, value in values.items():
        group = next((group for group, names in known.items() if name in names), None)
        if group is None:
            choices = ", ".join(name for names in known.values() for name in names)
            raise ValueError(f"{where}: unknown field '{name}'; {family} has {choices}")
        groups[group][name] = value
    optimizer = from_mapping(OptimizerConfig, groups["optimizer"], where)
    model = to_mapping(from_mapping(families[family].Config, groups["model"], where))
    return replace(from_mapping(kind, groups[""], where), optimizer=optimizer, model=model)


def train(
    config: TrainConfig,
    data: str | Path,
    out: str | Path,
    resume: bool = False,
    robot: Robot | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> InverseDynamics:
    """Train a model and write its checkpoint; the same seed gives the same weights.

    Args:
        config: the run.
        data: dataset folder.
        out: checkpoint folder.
        resume: go on from the state an interrupted run left in `out`.
        robot: the arm; none: the one the dataset names, or a machine whose URDF nobody has.
        on_epoch: called after each epoch of gradient descent, by the first process only.

    Raises:
        ValueError: bad dataset, another arm, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    device = select_device(config.device)
    with joined(device) as ranks:
        model, learn, judge, valid = _prepare(config, data, robot, device)
        progress = Progress()
        if not model.fit(learn, judge):
            settings = _settings(config) | {"data": model.meta.data["sha256"]}
            state = RunState(Path(out), settings, model.meta)
            trainer = Trainer(model, learn, judge, config.optimizer, config.seed, state, ranks)
            if resume:
                trainer.resume()
            progress = _logged(trainer, on_epoch)
        if ranks.first:
            _finish(model.eval(), judge, valid, progress, Path(out))
    return model


def splits(trajectories: Sequence[Trajectory], fraction: float, seed: int) -> tuple[Split, Split]:
    """Return (learn | test) and, of what is for learning, (train | valid)."""
    outer = split(trajectories, fraction, seed)
    return outer, split(outer.train, fraction, seed)


def accelerated(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Add accelerations to the trajectories that lack them; a video without motion stays one."""
    return [
        t.differentiate()
        if len(t.position) and not (len(t.acceleration) and len(t.velocity))
        else t
        for t in trajectories
    ]


def check_joints(dataset: Dataset, robot: Robot, data: str | Path) -> None:
    """Refuse a dataset of another arm."""
    if dataset.info.joint_names != robot.joint_names:
        expected, found = ", ".join(robot.joint_names), ", ".join(dataset.info.joint_names)
        raise ValueError(f"{data} has joints {found}; '{robot.name}' has {expected}")


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return all that shapes a run, flat as in the config file."""
    values = to_mapping(config)
    values.pop("threads")
    optimizer, model = values.pop("optimizer"), values.pop("model")
    return values | optimizer | model


def _names(cls: type) -> list[str]:
    return [f.name for f in fields(cls)]


def _meta(config: TrainConfig, dataset: Dataset, robot: Robot | None) -> ModelMetadata:
    info = dataset.info
    unit, names = info.action_unit, info.joint_names
    name, urdf = (robot.name, robot.xml()) if robot else (info.robot, "")
    frames = dataset.trajectories[0].frames
    frame = frames.shape[1:3] if len(frames) else ()
    return ModelMetadata(
        config.family,
        name,
        names,
        unit,
        info.rate,
        0.0,
        urdf,
        config.model,
        image_size=tuple(frame),
    )


def _prepare(
    config: TrainConfig, data: str | Path, robot: Robot | None, device: torch.device
) -> tuple[InverseDynamics, Windows, Windows, list[Trajectory]]:
    """Return a fresh model that knows its data, and what to learn from and to judge by.

    The latter comes as windows, and as the recordings that they are of.
    """
    dataset = read_dataset(data)
    if robot is None and dataset.info.robot in ROBOTS:
        robot = load_robot(dataset.info.robot)
    if robot is not None:
        check_joints(dataset, robot, data)
    trajectories = accelerated(dataset.trajectories)
    outer, inner = splits(trajectories, config.test_fraction, config.resolved_split_seed)
    meta = _meta(config, dataset, robot)
    action_delay = config.action_delay
    if MODELS[config.family].input_type == "pixels":
        if action_delay:
            raise ValueError(
                f"action_delay is {action_delay} s; family {config.family} reads pictures, whose actions lie "
                "between them: leave it out"
            )
        action_delay = 0.0
    elif action_delay is None:
        action_delay = estimate_action_delay(meta, inner)
    meta = replace(meta, action_delay=action_delay)
    torch.manual_seed(config.seed)
    model = build(meta) if config.init_from is None else _started(config.init_from, meta)
    meta = replace(meta, config=model.meta.config)
    learn, judge = (
        windows(part, model.window, action_delay, model.dtype, model.input_type, model.stride).to(
            device
        )
        for part in (inner.train, inner.test)
    )
    content = {"name": Path(data).name, "sha256": fingerprint(trajectories)}
    model.meta = replace(meta, data=content | _history(config, model, outer, inner))
    model.to(device)
    if config.init_from is None:  # other numbers would make it another function
        model.standardise(learn)
    return model, learn, judge, inner.test


def _started(start: str, meta: ModelMetadata) -> InverseDynamics:
    """Return the model to learn on from, which must be of the same family, arm and unit."""
    model = load(start)
    for name in ("family", "robot", "joint_names", "action_unit"):
        found, wanted = getattr(model.meta, name), getattr(meta, name)
        if found != wanted:
            label = name.replace("_", " ")
            raise ValueError(f"init_from: {start} has {label} '{found}'; this run has '{wanted}'")
    return model


def _logged(trainer: Trainer, on_epoch: Callable[[Progress], None]) -> Progress:
    """Descend; the first process tells the user and TensorBoard."""
    if not trainer.ranks.first:
        return trainer.run()
    trainer.state.directory.mkdir(parents=True, exist_ok=True)
    with TrainingLog(trainer.state.directory / LOGS) as log:

        def note(progress: Progress) -> None:
            log.write(progress)
            on_epoch(progress)

        return trainer.run(note)


def _finish(
    model: InverseDynamics,
    judge: Windows,
    valid: Sequence[Trajectory],
    progress: Progress,
    out: Path,
) -> None:
    """Write the checkpoint and how training went."""
    device = judge.motion.device
    recordings = whole_trajectories(valid, model.meta.action_delay, model.dtype, model.input_type)
    model.calibrate(recording.to(device) for recording in recordings)
    known = {"epochs": progress.epoch} | fallback_metadata(model, judge)
    model.meta = replace(model.meta, data=model.meta.data | known)
    save(model, model.meta, out)
    log = {"losses": progress.losses, "best_epoch": progress.best_epoch}
    write_atomically(out / "training.json", (json.dumps(log) + "\n").encode())


def _history(
    config: TrainConfig, model: InverseDynamics, outer: Split, inner: Split
) -> dict[str, Any]:
    """Return what the checkpoint remembers of its data."""
    groups = {"train": inner.train, "valid": inner.test, "test": outer.test}
    return {
        "split": {
            "by": outer.group_by,
            "fraction": config.test_fraction,
            "seed": config.resolved_split_seed,
        },
        "samples": {name: sum(map(len, part)) for name, part in groups.items()},
        "sketch": row_sketch(outer.train),
        "target_mean": _target_mean(model, outer.train),
        "urdf_compliance": urdf_compliance(model.meta, inner)
        if model.input_type == "motion"
        else [],
    }


def _target_mean(model: InverseDynamics, known: list[Trajectory]) -> list[float]:
    """Return the mean (n,) of what the family models; pictures are not copied for it."""
    if model.input_type == "pixels":
        return np.concatenate([t.action[model.warmup_frames :] for t in known]).mean(0).tolist()
    learn = windows(known, 1 + model.warmup_frames, model.meta.action_delay)
    target = model.target(learn.motion, learn.action)[:, model.warmup_frames :]
    return [float(x) for x in target.mean((0, 1))]

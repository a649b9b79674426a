"""Training of inverse dynamics models, from a config and a dataset to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from invdyn_ros.config import to_mapping
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.data.dataset import Dataset, read_dataset
from invdyn_ros.data.leakage import fingerprint, row_sketch
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, whole_trajectories, windows
from invdyn_ros.models.checkpoint import load, save, select_device
from invdyn_ros.models.effort_fit import unit_warning
from invdyn_ros.models.fallback_metadata import fallback_metadata
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.models.residual_metadata import residual_metadata
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.robot import Robot
from invdyn_ros.training.action_delay import (
    estimate_action_delay,
    estimate_timing,
    urdf_compliance,
)
from invdyn_ros.training.data_preparation import (
    check_joints,
    split_train_val_test,
    with_acceleration,
)
from invdyn_ros.training.dataset_arm import dataset_robot
from invdyn_ros.training.distributed import init_process_group
from invdyn_ros.training.drive_check import DriveChecker
from invdyn_ros.training.network_recorder import NetworkRecorder
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.tensorboard_log import TensorBoardLog
from invdyn_ros.training.trainer import Trainer, Validation
from invdyn_ros.training.training_state import Progress, RunState
from invdyn_ros.training.validation_error import validation_error

TENSORBOARD_DIR = "tensorboard"
INTERRUPTED = "interrupted"  # key of a checkpoint's metadata: the training did not end


class TrainingSetup(NamedTuple):
    """An initialised model and its data."""

    model: InverseDynamics
    train: Windows
    val: Windows
    trajectories: Split
    """Training and validation data."""
    checker: DriveChecker


def train(
    config: TrainConfig,
    data: str | Path,
    out: str | Path,
    resume: bool = False,
    robot: Robot | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    recorder: NetworkRecorder | None = None,
) -> InverseDynamics:
    """Train a model and write its checkpoint; the same seed gives the same weights.

    Args:
        config: settings of the run.
        data: dataset folder.
        out: checkpoint folder.
        resume: continue from the state that an interrupted run left in `out`.
        robot: the arm; None: that of the dataset, which need not have a URDF.
        on_epoch: called after each epoch, in the main process only.
        recorder: records the weights of the main process's network.

    Raises:
        ValueError: bad dataset, dataset of another arm, nothing to resume, or a family that cannot
            be recorded.
        KeyboardInterrupt: Ctrl-C; the checkpoint then holds the best weights so far, marked as
            interrupted, and the run can be resumed.
    """
    torch.set_num_threads(config.threads)
    device = select_device(config.device)
    with init_process_group(device) as group:
        setup = _prepare(config, data, robot, device)
        model, progress, interruption = setup.model, Progress(), None
        if recorder is not None:
            recorder.start(model, setup.val)
            on_epoch = partial(_call_both, on_epoch, recorder.record)
        if not model.fit(setup.train, setup.val):
            settings = _settings(config) | {"data": model.meta.data["sha256"]}
            settings["arm"] = model.meta.robot
            state = RunState(Path(out), settings, model.meta)
            trainer = Trainer(
                *(model, setup.train, setup.val, config.trainer, config.seed, state, group),
                validation=_validation(config, setup),
            )
            if resume:
                trainer.resume()
            progress, interruption = _run_trainer(trainer, on_epoch)
        if group.is_main_process:
            _save(setup, progress, Path(out), interruption is not None)
    if interruption is not None:
        raise interruption
    return model


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return all settings that shape a run, flat as in the config file."""
    values = to_mapping(config)
    values.pop("threads")
    trainer, model = values.pop("trainer"), values.pop("model")
    return values | trainer | model


def _prepare(
    config: TrainConfig, data: str | Path, robot: Robot | None, device: torch.device
) -> TrainingSetup:
    """Read the data, split them and initialise the model."""
    dataset = read_dataset(data)
    if robot is None:
        robot = dataset_robot(data, dataset.info.robot)
    if robot is not None:
        check_joints(dataset, robot, data)
    trajectories = with_acceleration(dataset.trajectories)
    outer, inner = split_train_val_test(trajectories, config.split)
    meta = _model_metadata(config, dataset, robot)
    meta = _with_timing(config, meta, inner)
    torch.manual_seed(config.seed)
    model = build(meta) if config.init_from is None else _load_initial(config.init_from, meta)
    meta = replace(meta, config=model.meta.config)
    train_windows, val_windows = (
        windows(
            part, model.window_size, meta.action_delay, model.dtype, model.input_type, model.stride
        ).to(device)
        for part in (inner.train, inner.test)
    )
    content: dict[str, Any] = {"name": Path(data).name, "sha256": fingerprint(trajectories)}
    content["unit_warning"] = None
    if robot is not None and model.input_type == "motion":
        content["unit_warning"] = unit_warning(robot, outer.train, dataset.info.action_unit)
    model.meta = replace(meta, data=content | _data_metadata(config, model, outer, inner))
    model.to(device)
    if config.init_from is None:  # another standardisation would change the loaded function
        model.standardise(train_windows)
    checker = DriveChecker(model, train_windows, val_windows, inner.test)
    return TrainingSetup(model, train_windows, val_windows, inner, checker)


def _model_metadata(config: TrainConfig, dataset: Dataset, robot: Robot | None) -> ModelMetadata:
    info, frames = dataset.info, dataset.trajectories[0].frames
    return ModelMetadata(
        family=config.family,
        robot=robot.name if robot else info.robot,
        joint_names=info.joint_names,
        action_unit=info.action_unit,
        rate=info.rate,
        action_delay=0.0,
        urdf=robot.rigid_body_urdf() if robot else "",
        config=config.model,
        image_size=tuple(frames.shape[1:3]) if len(frames) else (),
    )


def _with_timing(config: TrainConfig, meta: ModelMetadata, data: Split) -> ModelMetadata:
    """Return the metadata with the configured action delay, or else with estimates."""
    family, delay = MODELS[config.family], config.action_delay
    if family.input_type == "pixels":
        if delay:
            raise ValueError(
                f"action_delay is {delay} s; the actions of family {config.family} "
                "lie between images: leave it out"
            )
        return meta
    if family.identifies_lag and meta.urdf and meta.config.get("identify", True):
        timing = estimate_timing(meta, data, delay)._asdict()
        filter_time = timing.pop("friction_filter_time")
        if filter_time and not meta.config.get("friction_filter_time"):
            meta = replace(meta, config=meta.config | {"friction_filter_time": filter_time})
        return replace(meta, **timing)
    return replace(
        meta, action_delay=estimate_action_delay(meta, data) if delay is None else delay
    )


def _load_initial(folder: str, meta: ModelMetadata) -> InverseDynamics:
    """Load the model with the initial weights; family, arm and unit must be the same."""
    model = load(folder)
    for name in ("family", "robot", "joint_names", "action_unit"):
        actual, expected = getattr(model.meta, name), getattr(meta, name)
        if actual != expected:
            label = name.replace("_", " ")
            raise ValueError(
                f"init_from: {folder} has {label} '{actual}'; this run has '{expected}'"
            )
    return model


def _call_both(
    first: Callable[[Progress], None], second: Callable[[Progress], None], progress: Progress
) -> None:
    first(progress)
    second(progress)


def _validation(config: TrainConfig, setup: TrainingSetup) -> Validation | None:
    """Return the rollouts that choose the weights, None if the validation loss does."""
    if not (config.closed_loop_interval and setup.checker.can_simulate):
        return None
    return Validation(setup.checker.tracking_error, config.closed_loop_interval)


def _run_trainer(
    trainer: Trainer, on_epoch: Callable[[Progress], None]
) -> tuple[Progress, KeyboardInterrupt | None]:
    """Train; the main process logs to TensorBoard and calls `on_epoch`.

    Returns:
        The progress, and Ctrl-C if that has ended the training of a single process.
    """
    if not trainer.process_group.is_main_process:
        return trainer.run(), None
    trainer.state.directory.mkdir(parents=True, exist_ok=True)
    with TensorBoardLog(trainer.state.directory / TENSORBOARD_DIR) as log:

        def log_epoch(progress: Progress) -> None:
            log.write(progress)
            on_epoch(progress)

        try:
            return trainer.run(log_epoch), None
        except KeyboardInterrupt as interruption:
            if not trainer.progress.losses or trainer.process_group.world_size > 1:
                raise
            trainer.load_best_weights()
            return trainer.progress, interruption


def _save(setup: TrainingSetup, progress: Progress, out: Path, interrupted: bool) -> None:
    """Calibrate the model, then write the checkpoint and the losses."""
    model, device = setup.model.eval(), setup.val.motion.device

    def recordings(part: list[Trajectory]) -> Iterator[Windows]:
        delay, dtype, kind = model.meta.action_delay, model.dtype, model.input_type
        yield from (x.to(device) for x in whole_trajectories(part, delay, dtype, kind))

    train_data, val_data = setup.trajectories.train, setup.trajectories.test
    model.calibrate(recordings(val_data))
    if isinstance(model, RigidBody):
        model.identify_presliding([*recordings(train_data)], [*recordings(val_data)])
    metadata = {"epochs": progress.epoch} | fallback_metadata(model, setup.val)
    metadata |= {INTERRUPTED: True} if interrupted else {}
    metadata |= setup.checker.metadata()
    metadata["validation"] = validation_error(model, setup.val)._asdict()
    if model.input_type == "motion" and is_torque(model.meta.action_unit):
        metadata |= residual_metadata(model, recordings(val_data))
    if model.identification is not None:
        metadata["identification"] = model.identification
    model.meta = replace(model.meta, data=model.meta.data | metadata)
    save(model, model.meta, out)
    log = {"losses": progress.losses, "best_epoch": progress.best_epoch}
    write_json(out / "training.json", log)


def _data_metadata(
    config: TrainConfig, model: InverseDynamics, outer: Split, inner: Split
) -> dict[str, Any]:
    """Return the checkpoint's metadata of dataset and split."""
    parts = {"train": inner.train, "val": inner.test, "test": outer.test}
    return {
        "split": {"group_by": outer.group_by} | config.split._asdict(),
        "samples": {name: sum(map(len, part)) for name, part in parts.items()},
        "sketch": row_sketch(outer.train),
        "target_mean": _target_mean(model, outer.train),
        "urdf_compliance": urdf_compliance(model.meta, inner)
        if model.input_type == "motion"
        else [],
    }


def _target_mean(model: InverseDynamics, trajectories: list[Trajectory]) -> list[float]:
    """Return the mean target (n,) of the family, without a copy of the images."""
    skipped = model.warmup_frames
    if model.input_type == "pixels":
        return np.concatenate([t.action[skipped:] for t in trajectories]).mean(0).tolist()
    data = windows(trajectories, 1 + skipped, model.meta.action_delay)
    target = model.target(data.motion, data.action)[:, skipped:]
    return [float(x) for x in target.mean((0, 1))]

"""Reader of LeRobot dataset folders, written by this package or by the lerobot library."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from invdyn_ros.config import load_json
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.leakage import drop_duplicates
from invdyn_ros.data.lerobot_format import INFO, STATE, VELOCITY_SUFFIX
from invdyn_ros.data.resampling import (
    AUTO,
    OFF,
    Resampling,
    is_even,
    recording_rate,
    resample_recording,
)
from invdyn_ros.data.trajectory import MAX_INTERVAL_DEVIATION
from invdyn_ros.data.windows import check_compatible
from invdyn_ros.models.gravity import conversion_note, convert_actions
from invdyn_ros.sources.array_files import read_tables
from invdyn_ros.sources.import_result import (
    ImportResult,
    merge_results,
    with_distinct_recordings,
)
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import RESAMPLED, TOO_SHORT, read_episodes
from invdyn_ros.sources.source import Collection, Source, arm_name, resolve_joint_names
from invdyn_ros.training.dataset_arm import ARM_KEY, common_arm, known_robot

DUPLICATES = "duplicates of earlier samples"


@dataclass(frozen=True)
class LeRobotConfig:
    """Settings that the metadata of a folder lack, and rows to leave out."""

    unit: Literal["N m", "N m without gravity", "A", "rad", "1"] | None = None
    """Unit of the actions; 1: without unit. Not needed for folders of 'invdyn collect', whose
    torques are converted to it: with the URDF's torque of gravity, or without."""
    position_unit: Literal["rad", "deg"] | None = None
    """Unit of positions, velocities (per second) and setpoints in folders of other software;
    default: rad."""
    skip_invalid: bool = False
    """Leave out (and count) rows that are not finite and episodes of one sample."""
    resample: Resampling | None = None
    """HZ: resample at this rate; auto: at that of the recording, where its stamps are not evenly
    spaced; off: keep the stamps. Default: auto, but off for folders of 'invdyn collect'."""
    max_gap: float | None = None
    """[s] A longer gap ends an episode that is resampled; default: 0.1 s or five samples."""
    drop_duplicates: bool = False
    """Leave out (and count) duplicates of earlier samples."""


def read_lerobot_folder(
    path: str | Path,
    joint_names: tuple[str, ...],
    config: LeRobotConfig,
    urdf: Path | None = None,
) -> tuple[ImportResult, str]:
    """Read the episodes of a LeRobot folder, and the name of its robot.

    Quantities that are not in the folder, such as accelerations, stay absent.

    Args:
        path: folder with meta/info.json.
        joint_names: names of the joints; empty: those in the folder.
        config: unit of the actions, and what to leave out.
        urdf: URDF file of an arm that is not known by name.

    Raises:
        ValueError: no such folder, a damaged one, or missing or different joints or unit.
    """
    path = Path(path)
    info = _info(path)
    robot = str(info.get("robot") or info.get("robot_type") or "")
    if "action_unit" in info:
        if config.position_unit == "deg":
            raise ValueError(f"{path} is in rad, as 'invdyn collect' wrote it; give no unit")
        trajectories, known = read_dataset(path)
        if joint_names and joint_names != known.joint_names:
            actual, requested = ", ".join(known.joint_names), ", ".join(joint_names)
            raise ValueError(f"{path}: joints are {actual}, not {requested}")
        unit = config.unit or known.action_unit
        if unit != known.action_unit:
            if not (is_torque(unit) and is_torque(known.action_unit)):
                raise ValueError(f"{path}: actions are {known.action_unit}, not {unit}")
            text = known_robot(path, robot, robot if urdf else None, urdf).rigid_body_urdf()
            trajectories = [convert_actions(t, unit, text) for t in trajectories]
        result = ImportResult(trajectories, sum(map(len, trajectories)), {})
        return _evenly_spaced(result, config, OFF), robot
    return _read_foreign(path, info, joint_names, config), robot


def _read_foreign(
    path: Path, info: dict[str, Any], joint_names: tuple[str, ...], config: LeRobotConfig
) -> ImportResult:
    """Read the episodes of a folder that other software wrote.

    Args:
        path: the folder.
        info: its metadata.
        joint_names: names of the joints; empty: those in the folder.
        config: unit of the actions, and what to leave out.
    """
    if config.unit is None:
        raise ValueError(f"{path / INFO} does not specify the unit of the actions; give --unit")
    tables = [
        table._replace(recording=path.resolve().name)
        for chunk in sorted(path.glob("data/chunk-*"))
        for table in read_tables(chunk, STATE)
    ]
    if not tables:
        raise ValueError(f"{path / 'data'}: no chunk-*/*.parquet; copy or download it again")
    width, state_width = (
        tables[0].contents.widths[tables[0].find(name, STATE)[0].name] or 1
        for name in ("action", STATE)
    )
    names = joint_names or _joints(info, width, path)
    columns = _columns(state_width, len(names), config)
    merged = merge_results(read_episodes(table, names, columns) for table in tables)
    rate = info.get("fps") if isinstance(info.get("fps"), int | float) else None
    return _evenly_spaced(merged, config, AUTO, rate)


def _evenly_spaced(
    result: ImportResult, config: LeRobotConfig, default: Resampling, rate: float | None = None
) -> ImportResult:
    """Resample as the configuration says.

    Args:
        result: trajectories of a folder.
        config: how they are resampled.
        default: how if the user does not say it.
        rate: nominal rate of the folder [Hz]; None: unknown.
    """
    resample = default if config.resample is None else config.resample
    parts = [part for part in result.trajectories if len(part) > 1]
    if resample == OFF or not parts or any(len(part.frames) for part in parts):
        return result
    if resample == AUTO:
        if all(is_even(part.time) for part in parts):
            return result
        is_nominal = rate and abs(recording_rate(parts) / rate - 1) < MAX_INTERVAL_DEVIATION
        resample = float(rate) if rate and is_nominal else AUTO
    resampled = resample_recording(result.trajectories, resample, config.max_gap, 0)
    recorded, trajectories, too_short = resampled
    changes = Counter(result.changes)
    changes[TOO_SHORT] -= too_short
    changes[RESAMPLED] += sum(map(len, trajectories)) - sum(map(len, recorded))
    gaps = len(recorded) - len(result.trajectories)
    return ImportResult(
        trajectories,
        result.rows,
        dict(changes),
        recorded,
        (*result.notes, f"{gaps} gaps end an episode") if gaps > 0 else result.notes,
    )


def read_lerobot_folders(
    paths: list[Path],
    joint_names: tuple[str, ...],
    config: LeRobotConfig,
    urdf: Path | None = None,
) -> tuple[ImportResult, str]:
    """Read several folders of one robot as one dataset.

    Args:
        paths: dataset folders.
        joint_names: joints to read; empty: those of the dataset.
        config: options of the source.
        urdf: URDF file of an arm that is not known by name.

    Raises:
        ValueError: as `read_lerobot_folder`, or the folders differ in robot, joints, unit or
            columns.
    """
    results = [
        (result.named(path.resolve().name), robot)
        for path in paths
        for result, robot in [read_lerobot_folder(path, joint_names, config, urdf)]
    ]
    for path, (part, robot) in zip(paths, results, strict=True):
        first, name = results[0]
        try:
            check_compatible([first.trajectories[0], part.trajectories[0]])
        except ValueError as error:
            raise ValueError(f"{paths[0]} and {path}: {error}; collect them separately") from error
        if robot != name:
            raise ValueError(
                f"{paths[0]} is of '{name}', {path} of '{robot}'; collect them separately"
            )
    parts = with_distinct_recordings([part for part, _ in results], paths)
    merged, robot = merge_results(parts), results[0][1]
    return (_without_duplicates(merged) if config.drop_duplicates else merged), robot


def _without_duplicates(result: ImportResult) -> ImportResult:
    unique = drop_duplicates(result.trajectories)
    change = sum(map(len, unique)) - sum(map(len, result.trajectories))
    return result._replace(
        trajectories=unique, changes=result.changes | {DUPLICATES: change}, recorded=()
    )


def _info(path: Path) -> dict[str, Any]:
    if not (path / INFO).is_file():
        raise ValueError(f"{path} is not a LeRobot folder: {INFO} is missing")
    return load_json(path / INFO)


def _joints(info: dict[str, Any], width: int, path: Path) -> tuple[str, ...]:
    """Return the joint names in info.json, which has a list or a list per group of motors."""
    names: Any = info
    for key in ("features", STATE, "names"):
        names = names.get(key) if isinstance(names, dict) else None
    if isinstance(names, dict):
        names = [name for group in names.values() if isinstance(group, list) for name in group]
    names = names if isinstance(names, list) else []
    names = [str(name) for name in names if not str(name).endswith(VELOCITY_SUFFIX)]
    if len(names) != width:
        raise ValueError(
            f"{path / INFO} names {len(names)} joints for {width} actions; "
            "state them with --joints"
        )
    return tuple(names)


def _columns(width: int, n: int, config: LeRobotConfig) -> SequenceConfig:
    """Return the columns; a state twice as wide as the joints includes velocities."""
    return SequenceConfig(
        position=f"{STATE}:0:{n}",
        velocity=f"{STATE}:{n}:{2 * n}" if width == 2 * n else None,
        action="action",
        unit=config.unit or "1",
        time="timestamp",
        episode="episode_index",
        acceleration="none",
        position_unit=config.position_unit,
        skip_invalid=config.skip_invalid,
    )


def _conversions(paths: tuple[Path, ...], unit: str | None) -> tuple[str, ...]:
    """Return in words how the actions of folders were converted to a unit."""
    units = {_info(path).get("action_unit") for path in paths} if unit else set()
    others = sorted(str(known) for known in units - {None, unit})
    return tuple(conversion_note(known, str(unit)) for known in others)


@dataclass(frozen=True)
class LeRobotSource(Source):
    """Read LeRobot folders (v2.1, v3.0) of this package or the lerobot library as one dataset."""

    paths: tuple[Path, ...]
    """The folders."""
    folder: LeRobotConfig = field(default_factory=LeRobotConfig)
    """Settings that the metadata of the folders lack."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: the one in the folders."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    joints: tuple[str, ...] = ()
    """Names of the joints; default: those of the arm, or of the folders."""

    def collect(self) -> Collection:
        """Read and join all folders."""
        if not self.paths:
            raise ValueError("no folder to read; give one or more LeRobot folders")
        requested = arm_name(self.arm, self.urdf, "")
        joint_names = resolve_joint_names(requested, self.urdf, self.joints)
        result, recorded = read_lerobot_folders(
            list(self.paths), joint_names, self.folder, self.urdf
        )
        robot = requested or recorded
        if not robot:
            raise ValueError(f"{self.paths[0]} does not name its robot; state it with --arm")
        resolve_joint_names(robot, self.urdf, result.trajectories[0].joint_names)
        conversions = _conversions(self.paths, self.folder.unit)
        metadata: dict[str, Any] = {}
        if conversions:
            metadata["action_conversion"] = "; ".join(conversions)
        if not requested and (kept := common_arm(self.paths, robot)) is not None:
            metadata[ARM_KEY] = kept
        notes = (*result.notes, *conversions)
        return Collection(result, robot, metadata=metadata, notes=notes, urdf=self.urdf)

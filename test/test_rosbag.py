from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import excitation, robot
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.rosbag import BagConfig, read_bag

TYPES = get_typestore(Stores.ROS2_JAZZY)
JOINT_STATE = "sensor_msgs/msg/JointState"
UR10 = Path(__file__).parents[2] / "shared" / "data" / "ur10" / "ur10_exciting_trajectory.db3"
JOINTS = robot("ur5").joint_names


def record(
    folder: Path,
    trajectory: Trajectory,
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    effort: bool = True,
    logged: np.ndarray | None = None,
    unmeasured: slice = slice(0),
    controllers: tuple[list[int], ...] = ([3, 0, 5, 1, 4, 2],),
) -> Path:
    """Write a recording as a driver would: other joint order, a gripper on the same topic.

    It is logged at the stamps, unless other times are given. Effort is NaN in the rows
    `unmeasured`. Each controller publishes some of the joints.
    """
    kinds = TYPES.types

    def message(stamp: float, names: list[str], *columns: np.ndarray) -> bytes:
        time = kinds["builtin_interfaces/msg/Time"](int(stamp), round(stamp % 1 * 1e9))
        header = kinds["std_msgs/msg/Header"](time, "")
        return bytes(TYPES.serialize_cdr(kinds[JOINT_STATE](header, names, *columns), JOINT_STATE))

    action = trajectory.action.copy()
    action[unmeasured] = np.nan
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        topic = bag.add_connection("/joint_states", JOINT_STATE, typestore=TYPES)
        for i, stamp in enumerate(trajectory.time):
            at = round((stamp if logged is None else logged[i]) * 1e9)
            for order in controllers:
                names = [trajectory.joint_names[k] for k in order]
                tau = action[i, order] if effort else np.empty(0)
                rows = (trajectory.position[i, order], trajectory.velocity[i, order], tau)
                bag.write(topic, at, message(stamp, names, *rows))
            if i % 3 == 0:
                none = np.empty(0)
                gripper = message(stamp, ["finger"], np.array([0.04]), none, none)
                bag.write(topic, at + 1, gripper)
    return folder


def recorded(seconds: float = 2.0) -> Trajectory:
    original = excitation(robot("ur5"), 0, seconds=seconds)
    columns = (original.position, original.velocity, original.acceleration, original.action)
    return Trajectory(original.time + 1.7e9, *columns, original.joint_names, "A")


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("bare", [False, True])
def test_recording_reads_back_by_joint_name(
    tmp_path: Path, storage: StoragePlugin, bare: bool
) -> None:
    expected = recorded()
    path = record(tmp_path / "bag", expected, storage)
    if bare:
        (path / "metadata.yaml").unlink()
        path = next(path.iterdir())
    (read,) = read_bag(path, JOINTS, BagConfig("A")).trajectories
    assert read.action_unit == "A"
    np.testing.assert_allclose(read.time, expected.time, atol=1e-6)
    np.testing.assert_array_equal(read.position, expected.position)
    np.testing.assert_array_equal(read.action, expected.action)
    error = np.sqrt(((read.acceleration - expected.acceleration) ** 2).mean())
    assert error < 0.02 * expected.acceleration.std()


def test_gap_in_the_recording_ends_a_trajectory(tmp_path: Path) -> None:
    whole = recorded()
    rows = np.array([*range(100), *range(150, 250)])
    parts = read_bag(record(tmp_path / "bag", whole[rows]), JOINTS, BagConfig("A")).trajectories
    assert [len(part) for part in parts] == [100, 100]


def test_other_rate_is_resampled(tmp_path: Path) -> None:
    (read,) = read_bag(
        record(tmp_path / "bag", recorded()), JOINTS, BagConfig("A", resample=250.0)
    ).trajectories
    assert read.rate == pytest.approx(250.0, rel=1e-6)
    assert len(read) == 499


@pytest.mark.parametrize("clock", ["simulated", "none"])
def test_stamps_of_zero_are_the_start_of_a_simulation_or_no_stamps(
    tmp_path: Path, clock: str
) -> None:
    original = recorded()
    time = original.time - original.time[0] if clock == "simulated" else np.zeros(len(original))
    columns = (original.position, original.velocity, original.acceleration, original.action)
    stamped = Trajectory(original.time - original.time[0], *columns, original.joint_names, "A")
    object.__setattr__(stamped, "time", time)  # the time of a trajectory increases
    path = record(tmp_path / "bag", stamped, logged=original.time)
    (read,) = read_bag(path, JOINTS, BagConfig("A")).trajectories
    assert read.time[0] == pytest.approx(0.0 if clock == "simulated" else original.time[0])
    assert len(read) == len(original)


def test_unpublished_effort_is_absent(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", recorded(), effort=False)
    (read,) = read_bag(path, JOINTS, BagConfig("A")).trajectories
    assert read.action.shape == (0, 6)


def test_joints_with_a_prefix_are_those_of_the_robot(tmp_path: Path) -> None:
    left = recorded(0.5)
    object.__setattr__(left, "joint_names", tuple(f"left_{name}" for name in left.joint_names))
    path = record(tmp_path / "bag", left)
    (read,) = read_bag(path, JOINTS, BagConfig("A", tf_prefix="left_")).trajectories
    assert read.joint_names == JOINTS
    np.testing.assert_array_equal(read.position, left.position)


def test_effort_that_is_nan_is_absent(tmp_path: Path) -> None:
    """A controller publishes NaN where the hardware has no interface, or before it is read."""
    original = recorded()
    path = record(tmp_path / "never", original, unmeasured=slice(None))
    (read,) = read_bag(path, JOINTS, BagConfig("N m")).trajectories
    assert read.action.shape == (0, 6) and len(read) == len(original)
    path = record(tmp_path / "late", original, unmeasured=slice(8))
    result = read_bag(path, JOINTS, BagConfig("N m"))
    (read,) = result.trajectories
    np.testing.assert_array_equal(read.action, original.action[8:])
    assert "-8 messages without a measured value" in result.summary()
    path = record(tmp_path / "half", original, unmeasured=slice(100))
    with pytest.raises(ValueError, match="some messages have effort and some do not"):
        read_bag(path, JOINTS, BagConfig("N m"))


def test_joints_of_two_controllers_are_joined(tmp_path: Path) -> None:
    original = recorded()
    path = record(tmp_path / "bag", original, controllers=([1, 0, 2], [5, 3, 4]))
    result = read_bag(path, JOINTS, BagConfig("A"))
    (read,) = result.trajectories
    np.testing.assert_array_equal(read.position, original.position)
    np.testing.assert_array_equal(read.action, original.action)
    assert f"-{len(original)} messages joined with the next" in result.summary()


def test_errors_of_missing_joints_and_topics_list_those_in_the_bag(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", recorded(0.5))
    with pytest.raises(ValueError, match=r"no joint 'elbow'; the message has wrist_1_joint"):
        read_bag(path, ("shoulder_pan_joint", "elbow"), BagConfig("A"))
    with pytest.raises(ValueError, match=r"no topic /joints .*it holds /joint_states"):
        read_bag(path, JOINTS, BagConfig("A", topic=("/joints",)))
    with pytest.raises(ValueError, match="there are elbow_joint, finger"):
        read_bag(record(tmp_path / "b", recorded(0.5)), ("x",), BagConfig("A"))


@pytest.mark.parametrize("name", ["x.db3", "x.mcap", "x.txt"])
def test_error_names_a_file_that_is_not_a_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no recording" * 50)
    with pytest.raises(ValueError, match="not a readable rosbag2 recording") as raised:
        read_bag(tmp_path / name, JOINTS, BagConfig("A"))
    assert name in str(raised.value)
    with pytest.raises(ValueError, match="no such file"):
        read_bag(tmp_path / "none.db3", JOINTS, BagConfig("A"))


@pytest.mark.skipif(not UR10.exists(), reason=f"no recording {UR10.name} beside the project")
def test_real_ur10_recording_is_read_completely() -> None:
    (read,) = read_bag(UR10, JOINTS, BagConfig("N m")).trajectories
    assert (len(read), read.rate) == (3441, pytest.approx(125.0))
    # measured velocity and the slope of the measured position agree
    slope = np.gradient(read.position, read.time, axis=0)
    assert np.sqrt(((slope - read.velocity) ** 2).mean()) < 0.02

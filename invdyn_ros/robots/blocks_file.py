"""Description of blocks, their goals and their camera in a YAML file of the user."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml
from invdyn_ros.robots.block_markers import DEFAULT_DICTIONARY, BlockMarkers, check_blocks
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.scene import Scene, SceneBlock

MAX_SIZE, MAX_COORDINATE = 0.3, 5.0  # [m] larger numbers are probably not in metres
Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Interval = tuple[Coordinate, Coordinate]


@dataclass(frozen=True)
class BlockEntry(Validated):
    """One block of a blocks file."""

    name: str
    """Name in messages, such as red."""
    markers: tuple[int | None, ...]
    """Id of the marker on each face: top, +x, +y, -x, -y, bottom; null: a blank face."""
    goal: tuple[Coordinate, Coordinate] | None = None
    """x and y of the goal of its centre [m]; default: the goal of the arm's scene."""


@dataclass(frozen=True)
class CameraEntry(Validated):
    """Camera of a blocks file, which is simulated; a real one is calibrated (`camera_pose`)."""

    position: tuple[Coordinate, Coordinate, Coordinate]
    """Position in the base frame, or in that of the tool with eye_in_hand [m]."""
    look_at: tuple[Coordinate, Coordinate, Coordinate]
    """Point in the middle of the image, in the same frame [m]."""
    mounting: Literal["eye_to_hand", "eye_in_hand"] = "eye_to_hand"
    """eye_to_hand: beside the arm; eye_in_hand: on the hand."""
    focal: PositiveFloat = 850.0
    """Focal length [px]."""
    width: Annotated[int, Field(ge=64, le=4096)] = 640
    """Width of the image [px]."""
    height: Annotated[int, Field(ge=64, le=4096)] = 480
    """Height of the image [px]."""


@dataclass(frozen=True)
class BlocksFile(Validated):
    """Blocks on the table of an arm: the content of a blocks file.

    Everything is in the base frame of the arm, which stands on the table. What is not given is
    that of the arm's scene.
    """

    blocks: tuple[BlockEntry, ...]
    """The blocks. A stack is built in this order, at the goal of the first one."""
    dictionary: str = DEFAULT_DICTIONARY
    """ArUco dictionary of all markers, such as DICT_4X4_50 or DICT_APRILTAG_36h11."""
    size: Annotated[float, Field(gt=0, le=MAX_SIZE)] | None = None
    """Side of the blocks [m]; the side of a marker is 0.8 times as long."""
    mass: PositiveFloat | None = None
    """Mass of a simulated block [kg]."""
    friction: PositiveFloat | None = None
    """Coulomb friction coefficient of a simulated block."""
    area_x: Interval | None = None
    """Range of x in which the blocks lie at the start [m]."""
    area_y: Interval | None = None
    """Range of y in which the blocks lie at the start [m]."""
    grasp: str = ""
    """Name of the block of task:=grasp; default: the first one."""
    camera: CameraEntry | None = None
    """Simulated camera."""
    camera_pose: str = ""
    """File of 'invdyn calibrate', relative to this one; camera_pose:= replaces it."""

    def __post_init__(self) -> None:
        """Check names, markers and ranges."""
        super().__post_init__()
        check_blocks([self._markers_of(entry) for entry in self.blocks])
        names = [entry.name for entry in self.blocks]
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} blocks with the name '{name}'; give each its own")
        if self.grasp and self.grasp not in names:
            raise ValueError(f"grasp: no block '{self.grasp}'; the blocks are {', '.join(names)}")
        for key in ("area_x", "area_y"):
            interval = getattr(self, key)
            if interval is not None and interval[0] > interval[1]:
                low, high = interval
                raise ValueError(f"{key} is [{low}, {high}]; give the lower end first")

    def _markers_of(self, entry: BlockEntry) -> BlockMarkers:
        try:
            return BlockMarkers(entry.markers, self.dictionary)
        except ValueError as error:
            raise ValueError(f"block '{entry.name}': {error}") from None

    def apply(self, scene: Scene) -> Scene:
        """Return the scene of an arm with these blocks."""
        given = {
            "block_size": self.size,
            "block_mass": self.mass,
            "friction": self.friction,
            "area_x": self.area_x,
            "area_y": self.area_y,
        }
        scene = replace(scene, **{key: v for key, v in given.items() if v is not None})  # type: ignore[arg-type]
        if self.camera is not None:
            c = self.camera
            camera = PinholeCamera.look_at(c.position, c.look_at, c.focal, c.width, c.height)
            on_hand = c.mounting == "eye_in_hand"
            scene = replace(scene, camera=camera, camera_on_hand=on_hand)
        middle = scene.block_size / 2
        blocks = tuple(
            SceneBlock(e.name, self._markers_of(e), (*(e.goal or scene.goal[:2]), middle))
            for e in self.blocks
        )
        names = [block.name for block in blocks]
        target = names.index(self.grasp) if self.grasp else 0
        goal = blocks[target].goal
        return replace(scene, num_blocks=len(blocks), blocks=blocks, target=target, goal=goal)


def read_blocks_file(path: str | Path) -> BlocksFile:
    """Read a blocks file.

    Raises:
        ValueError: no such file, an unknown key, or a value that is not allowed; in one line.
    """
    return from_mapping(BlocksFile, load_yaml(path), str(path))


def find_camera_pose(path: str | Path) -> str:
    """Return the absolute path of the calibration that a blocks file names, "" without one."""
    name = read_blocks_file(path).camera_pose
    return str((Path(path).parent / name).absolute()) if name else ""

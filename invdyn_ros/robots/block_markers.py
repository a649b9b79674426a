"""Markers on the faces of a block: dictionary and ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from invdyn_ros.config import Validated

FACES = 6
FACE_NAMES = "top", "+x", "+y", "-x", "-y", "bottom"
DEFAULT_DICTIONARY = "DICT_4X4_50"


class MarkerDictionary(NamedTuple):
    """Size of a dictionary of OpenCV.

    Attributes:
        bits: bits along a side of a marker, without its border.
        size: number of markers; their ids start at 0.
    """

    bits: int
    size: int


MARKER_DICTIONARIES: dict[str, MarkerDictionary] = {
    **{
        f"DICT_{bits}X{bits}_{count}": MarkerDictionary(bits, count)
        for bits in (4, 5, 6, 7)
        for count in (50, 100, 250, 1000)
    },
    "DICT_ARUCO_ORIGINAL": MarkerDictionary(5, 1024),
    "DICT_APRILTAG_16h5": MarkerDictionary(4, 30),
    "DICT_APRILTAG_25h9": MarkerDictionary(5, 35),
    "DICT_APRILTAG_36h10": MarkerDictionary(6, 2320),
    "DICT_APRILTAG_36h11": MarkerDictionary(6, 587),
}


def load_dictionary(name: str) -> MarkerDictionary:
    """Return the size of a dictionary.

    Raises:
        ValueError: there is no such dictionary; the message lists the known ones.
    """
    if name not in MARKER_DICTIONARIES:
        known = ", ".join(MARKER_DICTIONARIES)
        raise ValueError(f"no marker dictionary '{name}'; known are {known}")
    return MARKER_DICTIONARIES[name]


@dataclass(frozen=True)
class BlockMarkers(Validated):
    """Markers of one block."""

    ids: tuple[int | None, ...] = (0, 1, 2, 3, 4, 5)
    """Id of the marker on each face: top, +x, +y, -x, -y, bottom; None: a blank face."""
    dictionary: str = DEFAULT_DICTIONARY
    """Name of the dictionary, as in OpenCV."""

    def __post_init__(self) -> None:
        """Check that each marker exists, and that no two faces share one."""
        super().__post_init__()
        count = load_dictionary(self.dictionary).size
        if len(self.ids) != FACES:
            faces = ", ".join(FACE_NAMES)
            raise ValueError(
                f"{len(self.ids)} markers; a block has {FACES} faces ({faces}), null for a blank "
                "one"
            )
        used = [marker for marker in self.ids if marker is not None]
        for marker in used:
            if not 0 <= marker < count:
                raise ValueError(
                    f"no marker {marker} in {self.dictionary}, which has 0 to {count - 1}"
                )
        if not used:
            raise ValueError("all faces are blank; give at least one marker")
        _check_unique(used)

    @classmethod
    def numbered(cls, block: int) -> BlockMarkers:
        """Return the default markers of a block: 6 b (top) to 6 b + 5 (bottom)."""
        return cls(tuple(range(FACES * block, FACES * (block + 1))))

    def __str__(self) -> str:
        used = sorted(marker for marker in self.ids if marker is not None)
        if len(used) > 1 and used[-1] - used[0] == len(used) - 1:
            return f"{used[0]} to {used[-1]}"
        return ", ".join(map(str, used))


def check_blocks(blocks: Sequence[BlockMarkers]) -> None:
    """Check the markers of several blocks.

    Raises:
        ValueError: no blocks, a marker on two of them, or several dictionaries.
    """
    if not blocks:
        raise ValueError("no blocks; give the markers of at least one")
    dictionaries = sorted({block.dictionary for block in blocks})
    if len(dictionaries) > 1:
        raise ValueError(f"blocks with {' and '.join(dictionaries)}; use one dictionary")
    _check_unique([marker for block in blocks for marker in block.ids if marker is not None])


def default_markers(num_blocks: int) -> tuple[BlockMarkers, ...]:
    """Return the default markers of blocks.

    Raises:
        ValueError: the default dictionary has too few markers.
    """
    most = load_dictionary(DEFAULT_DICTIONARY).size // FACES
    if num_blocks > most:
        raise ValueError(
            f"{num_blocks} blocks; {DEFAULT_DICTIONARY} has markers for {most}, use a larger one"
        )
    return tuple(BlockMarkers.numbered(block) for block in range(num_blocks))


def _check_unique(markers: list[int]) -> None:
    """Raise ValueError if a marker occurs twice."""
    for marker, count in Counter(markers).items():
        if count > 1:
            raise ValueError(f"marker {marker} is on {count} faces; each needs its own")

"""Names of the joints of an arm in a recording that names them differently."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

MIN_SIMILARITY = 0.6  # of two names of one joint [-]


def recorded_names(joints: Sequence[str], prefix: str, renamed: Sequence[str]) -> tuple[str, ...]:
    """Return the names of joints in a recording.

    Args:
        joints: names of the joints of the arm.
        prefix: before them in the recording.
        renamed: pairs "recorded=joint" of those that have another name there.

    Raises:
        ValueError: a pair is no pair, or is of another joint, or two are of one joint.
    """
    names = {joint: prefix + joint for joint in joints}
    given: dict[str, str] = {}
    for pair in renamed:
        recorded, _, joint = pair.partition("=")
        if not recorded or joint not in names:
            raise ValueError(
                f"--map {pair}: give recorded=joint with a joint of the arm: {', '.join(joints)}"
            )
        if joint in given or recorded in given.values():
            raise ValueError(f"--map {pair}: another --map has one of these names; remove one")
        given[joint] = recorded
    return tuple((names | given).values())


def mapping_remedy(joints: Sequence[str], recorded: Sequence[str], names: Sequence[str]) -> str:
    """Return options that name the joints of an arm in a recording, as the end of a message.

    Args:
        joints: names of the joints of the arm.
        recorded: names that were looked for in the recording.
        names: names of all joints in the recording, in its order.
    """
    prefixes = [name.removesuffix(joints[0]) for name in names if name.endswith(joints[0])]
    fitting = [p for p in prefixes if p and all(p + joint in names for joint in joints)]
    if fitting:
        return "; give " + " or ".join(f"--tf-prefix {prefix}" for prefix in fitting)
    missing = [j for j, name in zip(joints, recorded, strict=True) if name not in names]
    others = [name for name in names if name not in recorded]
    if not others:
        return "; record all joints, or name these as joint_names in an arm file for --arm"
    pairs = guess_mapping(missing, others)
    if not pairs:
        return "; name its joints with --map recorded=joint, or give the arm with --arm or --urdf"
    options = " ".join(f"--map {name}={joint}" for name, joint in pairs)
    return f"; if these are its joints, give {options}"


def guess_mapping(joints: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the likeliest pairs (recorded name, joint), or none.

    As many names that differ in one number as there are joints are the joints in that order;
    otherwise the most similar names are, if all of them are similar.

    Args:
        joints: joints of the arm, from the base on.
        names: names in the recording.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+(?=\D*$)", "#", name), []).append(name)
    numbered = [group for group in groups.values() if len(group) == len(joints)]
    if numbered and len(joints) > 1:
        return list(zip(sorted(numbered[0], key=_last_number), joints, strict=True))
    left, pairs = list(names), []
    for joint in joints:
        best = max(left, key=lambda name: _similarity(name, joint), default=None)
        if best is None or _similarity(best, joint) < MIN_SIMILARITY:
            return []
        left.remove(best)
        pairs.append((best, joint))
    return pairs


def _last_number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _similarity(name: str, other: str) -> float:
    return SequenceMatcher(None, name.lower(), other.lower(), autojunk=False).ratio()

"""Lookup of the policy and of the block pose network of the graph grasp_sim."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.robots.robot import load_robot, package_file

SHIPPED_POLICIES = {  # policy -> folder in config/, command that trains such a policy
    "learned": ("policies", "train_grasp"),
    "vision": ("policies", "train_grasp"),
    "planned": ("planners", "train_planner"),
}


def find_policy(policy: str, folder: str, arm: str) -> str:
    """Return the folder of a learned policy, after loading it as the node does.

    Args:
        policy: launch argument; the result for a policy that is not learned is "".
        folder: launch argument; empty: the shipped one.
        arm: name of the arm.

    Raises:
        ValueError: no such folder, none is shipped for the arm, or it is of another type or arm.
    """
    if policy not in SHIPPED_POLICIES:
        if folder:
            raise ValueError(
                f"policy_checkpoint:={folder} needs policy:=learned, vision or planned"
            )
        return ""
    # slow to import
    from invdyn_ros.grasp.policies.learned import load_learned_grasp
    from invdyn_ros.models.checkpoint_files import is_checkpoint
    from invdyn_ros.models.planner.planner import PLANNER
    from invdyn_ros.robots.registry import load_scene

    shipped, command = SHIPPED_POLICIES[policy]
    remedy = f"train one with 'invdyn {command}' and give policy_checkpoint:=DIR"
    missing = f"no {policy} policy is shipped for {arm}; {remedy}"
    path = _find_folder(folder, f"{shipped}/{arm}", missing)
    if is_checkpoint(path, PLANNER) != (command == PLANNER.command):
        raise ValueError(f"policy:={policy} takes a folder of 'invdyn {command}', not {path}")
    load_learned_grasp(load_robot(arm), load_scene(arm), path)
    return str(path)


def find_block_pose_model(policy: str, folder: str, arm: str) -> tuple[str, int]:
    """Return the folder of a block pose network and the side of its images [px].

    Args:
        policy: launch argument; all but vision use markers by default, and the result is ("", 0).
        folder: launch argument; empty: the shipped one.
        arm: name of the arm.

    Raises:
        ValueError: no such folder, none is shipped for the arm, or it is of another type or arm.
    """
    if not folder and policy != "vision":
        return "", 0
    from invdyn_ros.grasp.estimation.block_pose_network import (  # slow to import
        load_block_pose_net,
    )

    missing = (
        f"no block pose network is shipped for {arm}; train one with 'invdyn train_block_pose' "
        "and give block_pose_model:=DIR"
    )
    path = _find_folder(folder, f"block_pose/{arm}", missing)
    return str(path), load_block_pose_net(path, arm).meta.network.pixels


def _find_folder(folder: str, shipped: str, missing: str) -> Path:
    """Return a folder, by default the shipped one; `missing` is the error if there is none."""
    try:
        return Path(folder).absolute() if folder else package_file(f"config/{shipped}")
    except FileNotFoundError:
        raise ValueError(missing) from None

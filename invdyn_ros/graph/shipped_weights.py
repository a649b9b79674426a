"""What of a grasp is learned: launch arguments enter, folders with networks leave."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.robots.robot import load_robot, package_file

SHIPPED_POLICIES = {  # by policy: the folder of config/ that holds it, and the verb that makes one
    "learned": ("policies", "train_grasp"),
    "vision": ("policies", "train_grasp"),
    "planned": ("planners", "train_planner"),
}


def find_policy(policy: str, given: str, arm: str) -> str:
    """Find the folder of a learned policy: the one given, or the one shipped for the arm."""
    if policy not in SHIPPED_POLICIES:
        if given:
            raise ValueError(
                f"policy_checkpoint:={given} needs policy:=learned, vision or planned"
            )
        return ""
    from invdyn_ros.grasp.policies.learned import (
        load_learned_grasp,  # torch: only where a policy is learned
    )
    from invdyn_ros.models.checkpoint import is_checkpoint
    from invdyn_ros.models.planner.planner import PLANNER
    from invdyn_ros.robots.registry import load_scene

    kind, verb = SHIPPED_POLICIES[policy]
    remedy = f"train one with 'invdyn {verb}' and give policy_checkpoint:=DIR"
    missing = f"no {policy} policy is shipped for {arm}; {remedy}"
    path = _folder(given, f"{kind}/{arm}", missing)
    if is_checkpoint(path, PLANNER) != (verb == PLANNER.command):
        raise ValueError(f"policy:={policy} takes a folder of 'invdyn {verb}'; {path} is none")
    load_learned_grasp(
        load_robot(arm), load_scene(arm), path
    )  # refuses what the node would refuse
    return str(path)


def find_block_pose_model(policy: str, given: str, arm: str) -> tuple[str, int]:
    """Find the folder of a network that sees, and the side of its pictures [px]; "", 0: none."""
    if not given and policy != "vision":
        return "", 0
    from invdyn_ros.grasp.estimation.block_pose_network import (
        load_block_pose_net,  # torch: only where a network sees
    )

    missing = (
        f"no network that sees is shipped for {arm}; train one with 'invdyn train_block_pose' and "
    )
    path = _folder(given, f"block_pose/{arm}", missing + "give block_pose_model:=DIR")
    return str(path), load_block_pose_net(path, arm).meta.network.pixels


def _folder(given: str, shipped: str, missing: str) -> Path:
    """Return the folder that is given, else the shipped one."""
    try:
        return Path(given).absolute() if given else package_file(f"config/{shipped}")
    except FileNotFoundError:
        raise ValueError(missing) from None

"""Registration of the grasp environments with Gymnasium.

Importing this module registers all ids. Gymnasium imports it for
`gymnasium.make("invdyn_ros.grasp.envs.registration:invdyn_ros/GraspUR5-v0")` and for
`gymnasium.register_envs(invdyn_ros.grasp.envs.registration)`.
"""

from gymnasium.envs.registration import register, registry

from invdyn_ros.robots.registry import grasping_arms, load_grasp_spec

ARMS = {load_grasp_spec(arm).env_name: arm for arm in grasping_arms()}
OBS_MODES = {"": "state", "Pixels": "pixels"}
NAMESPACE = "invdyn_ros"


def register_all() -> None:
    """Register every environment that is not registered yet."""
    for arm_id, arm in ARMS.items():
        for suffix, obs_mode in OBS_MODES.items():
            env_id = f"{NAMESPACE}/Grasp{arm_id}{suffix}-v0"
            if env_id not in registry:
                register(
                    env_id,
                    entry_point="invdyn_ros.grasp.envs.grasp_env:GraspEnv",
                    kwargs={"arm": arm, "obs_mode": obs_mode},
                )


register_all()

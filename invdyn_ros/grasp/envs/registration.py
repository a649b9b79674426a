"""The names of the environments: importing this module makes them known to gymnasium.

Gymnasium 1 finds none by itself.
`gymnasium.make("invdyn_ros.grasp.envs.registration:NAME")` imports
it on the way, so does `gymnasium.register_envs(invdyn_ros.grasp.envs.registration)`.
"""

from gymnasium.envs.registration import register, registry

from invdyn_ros.robots.registry import grasping_arms, load_grasp_spec

ARMS = {load_grasp_spec(arm).env_name: arm for arm in grasping_arms()}
KINDS = {"": "state", "Pixels": "pixels"}
NAMESPACE = "invdyn_ros"


def register_all() -> None:
    """Make every environment known, once."""
    for arm, name in ARMS.items():
        for kind, observation in KINDS.items():
            known = f"{NAMESPACE}/Grasp{arm}{kind}-v0"
            if known not in registry:
                register(
                    known,
                    entry_point="invdyn_ros.grasp.envs.grasp_env:GraspEnv",
                    kwargs={"arm": name, "obs_mode": observation},
                )


register_all()

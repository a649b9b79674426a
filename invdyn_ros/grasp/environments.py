"""The names of the environments: importing this module makes them known to gymnasium.

An installed package has an entry point that does the same, so `gymnasium.make` needs no import.
"""

from gymnasium.envs.registration import register, registry

ARMS = {"UR5": "ur5", "UR5e": "ur5e", "Dofbot": "dofbot"}
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
                    entry_point="invdyn_ros.grasp.environment:GraspEnv",
                    kwargs={"arm": name, "observation": observation},
                )


register_all()

"""What the simulated arm has that its model does not: friction, rotors, delay, noise, payload.

Enters: an arm's name. Leaves: a PlantConfig, plain numbers with units.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from invdyn_ros.config import Validated


@dataclass(frozen=True)
class PlantConfig(Validated):
    """How the simulated arm differs from its URDF; every term can be switched off by zero.

    Per-joint terms are given as a share of the joint's effort limit, which scales them from a
    shoulder to a wrist as gearboxes do.

    Attributes:
        physics_rate: integration steps per second; fewer than 200 are unstable [Hz].
        coulomb: dry friction as a share of the effort limit [-].
        viscous: viscous friction per effort limit [s/rad].
        rotor_inertia: reflected rotor inertia per effort limit [s2/rad].
        delay: time from command to actuator [s].
        encoder_step: position quantisation [rad].
        position_noise: standard deviation of the measured position [rad].
        velocity_noise: standard deviation of the measured velocity [rad/s]; negative: the arm
            does not measure velocity, and none is published.
        payload: mass at the tool that the model does not know [kg].
        servo_stiffness: torque of a position servo per error and effort limit [1/rad].
        servo_damping: torque of a position servo per velocity and effort limit [s/rad].
        servo_step: what the setpoints of a position servo are rounded to, at least the encoder's
            step [rad].
        backlash: play between the joint and its encoder [rad].
        gripper_force: force of each finger [N].
        gripper_speed: speed of each finger [m/s].
    """

    physics_rate: Annotated[float, Field(ge=200)] = 1000.0
    coulomb: NonNegativeFloat = 0.02
    viscous: NonNegativeFloat = 0.02
    rotor_inertia: NonNegativeFloat = 0.003
    delay: NonNegativeFloat = 0.008
    encoder_step: NonNegativeFloat = 4.8e-5
    position_noise: float = 1e-5
    velocity_noise: float = 1e-3
    payload: NonNegativeFloat = 0.0
    servo_stiffness: float = 30.0
    servo_damping: float = 1.4
    gripper_force: float = 20.0
    gripper_speed: float = 0.1
    servo_step: NonNegativeFloat = 0.0
    backlash: NonNegativeFloat = 0.0


IDEAL = PlantConfig(
    coulomb=0.0,
    viscous=0.0,
    rotor_inertia=0.0,
    delay=0.0,
    encoder_step=0.0,
    position_noise=0.0,
    velocity_noise=0.0,
)

# A bus servo reports raw counts of 0.0818 degrees (900..3100 over 180 degrees) and no velocity. It
# reaches its full torque at an error of 4 degrees; its rotor weighs more than the arm's links.
DOFBOT = PlantConfig(
    rotor_inertia=0.002,
    delay=0.02,
    encoder_step=1.43e-3,
    position_noise=0.0,
    velocity_noise=-1.0,
    servo_stiffness=13.3,
    servo_damping=0.42,
    gripper_force=3.0,
    gripper_speed=0.06,
)

PLANTS = {
    "ur5": PlantConfig(payload=0.1),
    "ur5e": PlantConfig(payload=0.1, delay=0.004),
    "ur10": PlantConfig(payload=0.1),
    "kuka_iiwa": PlantConfig(payload=0.2, delay=0.004),
    "dofbot": DOFBOT,
}


def load_plant(arm: str, **changes: float) -> PlantConfig:
    """Return the plant of an arm, with changes; any other arm gets the general defaults."""
    return replace(PLANTS.get(arm, PlantConfig()), **changes)

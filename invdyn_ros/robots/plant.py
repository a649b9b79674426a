"""Plant parameters: friction, rotor inertia, delay and sensor noise of a simulated arm."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat

from invdyn_ros.config import Validated


@dataclass(frozen=True)
class PlantConfig(Validated):
    """How the simulated arm differs from its URDF; zero switches a term off.

    Per-joint terms are a fraction of the joint's effort limit, which scales them from shoulder to
    wrist as gearboxes do.

    Attributes:
        physics_rate: integration steps per second; less than 200 is unstable [Hz].
        coulomb: dry friction as a fraction of the effort limit [-].
        stribeck: rise of the dry friction towards standstill, as a fraction of `coulomb` [-].
        stribeck_velocity: velocity scale of that rise, which falls as a Gaussian [rad/s].
        load_friction: dry friction per torque that the gear transmits to the links [-].
        viscous: viscous friction per effort limit [s/rad].
        rotor_inertia: reflected rotor inertia per effort limit [s2/rad].
        delay: time from command to actuator [s].
        encoder_step: position quantisation [rad].
        position_noise: standard deviation of the measured position [rad].
        velocity_noise: standard deviation of the measured velocity [rad/s]; negative: the arm
            does not measure velocity, and none is published.
        payload: mass at the tool that the model does not include [kg].
        servo_stiffness: torque of a position servo per error and effort limit [1/rad].
        servo_damping: torque of a position servo per velocity and effort limit [s/rad].
        gripper_force: force of each finger [N].
        gripper_speed: speed of each finger [m/s].
        servo_step: quantisation of the setpoints of a position servo; the encoder step applies
            where it is larger [rad].
        backlash: play between the joint and its encoder [rad].
    """

    physics_rate: Annotated[float, Field(ge=200)] = 1000.0
    coulomb: NonNegativeFloat = 0.02
    stribeck: NonNegativeFloat = 0.0
    stribeck_velocity: PositiveFloat = 0.1
    load_friction: NonNegativeFloat = 0.0
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


IDEAL_PLANT = PlantConfig(
    coulomb=0.0,
    viscous=0.0,
    rotor_inertia=0.0,
    delay=0.0,
    encoder_step=0.0,
    position_noise=0.0,
    velocity_noise=0.0,
)

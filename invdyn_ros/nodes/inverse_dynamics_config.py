"""Parameters of the node `inverse_dynamics`."""

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat

from invdyn_ros.config import Validated


@dataclass(frozen=True)
class InverseDynamicsNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        driver: YAML file of the driver of a real arm; empty: nothing but joint states is watched.
        checkpoint: folder or .onnx file of the model.
        unsafe: drive with a model that was refused as a driver after its training.
        device: device of the model.
        engaged: whether to start engaged, without a call of the service ~/engage.
        lockstep: publish exactly one command per joint state, once the target of its time arrived.
        target_rate: in lockstep, targets have stamps at multiples of 1/target_rate [Hz].
        obstacles: YAML file of what the arm must not touch; empty: what is known of this arm.
        state_predictor: folder of a time-series model that predicts missing joint states, not used
            in lockstep; empty: no command while joint states are missing.
        resume: engage again by itself once joint states come steadily after a gap of them or a
            late command; only for a simulated arm, which stands still when its machine is busy.
        floating: hold the arm against gravity only, so that a hand can move it, within soft stops;
            it follows no targets.
        payload: file of `invdyn identify payload`, of what the arm carries beside what its model
            was trained with; empty: nothing.
        autostart: configure the node at once; false: wait for the transition of a lifecycle
            manager.
    """

    arm: str = "ur5"
    driver: str = ""
    checkpoint: str = ""
    unsafe: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engaged: bool = False
    lockstep: bool = False
    target_rate: NonNegativeFloat = 0.0
    obstacles: str = ""
    state_predictor: str = ""
    resume: bool = False
    floating: bool = False
    payload: str = ""
    autostart: bool = True

    def __post_init__(self) -> None:
        """Check that the device exists, and that no floating arm is predicted."""
        super().__post_init__()
        if self.floating and self.state_predictor:
            raise ValueError("an arm that floats has no plan; leave state_predictor out")
        if self.device == "cuda":
            import torch  # slow to import; most models need none

            if not torch.cuda.is_available():
                raise ValueError("device is cuda, but torch finds no GPU; use auto or cpu")

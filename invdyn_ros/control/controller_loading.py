"""Controller of an arm from a checkpoint."""

from __future__ import annotations

from typing import NamedTuple

from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.drift_monitor import DriftMonitor
from invdyn_ros.control.dropout_controller import DropoutController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.faults import MeasurementMonitorConfig
from invdyn_ros.control.floating_controller import FloatingController
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.state_predictor import StatePredictorConfig
from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.models.drive_check import chosen_feedback, refusal
from invdyn_ros.models.gravity import for_commands
from invdyn_ros.models.payload_file import load_payload
from invdyn_ros.models.payload_torque import PayloadTorque
from invdyn_ros.models.residual_metadata import ResidualStatistics
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.robot import Robot


class LoadedController(NamedTuple):
    """A disengaged controller, and what its checkpoint is, by name."""

    controller: ArmController
    description: dict[str, str]


def load_controller(
    robot: Robot,
    checkpoint: str,
    device: str = "cpu",
    safety: SafetyLimitsConfig | None = None,
    monitor: MeasurementMonitorConfig | None = None,
    obstacles: str = "",
    unsafe: bool = False,
    floating: bool = False,
    payload: str = "",
) -> LoadedController:
    """Load a model, and create the controller of an arm with it.

    Args:
        robot: the arm.
        checkpoint: folder or .onnx file of the model.
        device: device of the model.
        safety: margins and timeouts of the safety limits.
        monitor: thresholds of the faults.
        obstacles: YAML file of what the arm must not touch; empty: what is known of this arm.
        unsafe: whether to use a model that was refused as a driver after its training.
        floating: whether the arm floats instead of following targets.
        payload: file of what the arm carries beside what its model was trained with; empty:
            nothing.

    Raises:
        ValueError: the checkpoint or the obstacles cannot be used.
    """
    loaded = load_runtime(checkpoint, device, robot)
    if (reason := refusal(loaded.meta.data)) and not unsafe:
        raise ValueError(
            f"{checkpoint} is refused as a driver: {reason}; train another family, or drive with "
            "it all the same by unsafe:=true"
        )
    model = for_commands(loaded)
    fallback = fallback_from_metadata(model.meta)
    if payload:
        carried = load_payload(payload)
        robot, model = robot.carrying(carried), PayloadTorque(model, model.meta, carried)
        if fallback is not None:
            fallback = fallback._replace(model=PayloadTorque(fallback.model, model.meta, carried))
    controller = (FloatingController if floating else ArmController)(
        robot,
        model,
        model.meta.action_unit,
        model.meta.action_delay,
        safety,
        chosen_feedback(model.meta.action_unit, model.meta.data),
        fallback=fallback,
        obstacles=load_obstacles(obstacles) if obstacles else None,
        monitor=monitor,
    )
    statistics = ResidualStatistics.from_metadata(model.meta)
    if statistics is not None and model.meta.action_unit == TORQUE and not floating:
        controller.actions.drift = DriftMonitor(robot, model, statistics)
    description = {
        "checkpoint": checkpoint,
        "family": model.meta.family,
        "runtime": type(loaded).__name__,
        "trained on actions in": loaded.meta.action_unit,
    }
    return LoadedController(controller, description)


def load_dropout_controller(
    controller: ArmController, state_predictor: str, config: StatePredictorConfig
) -> DropoutController:
    """Load a model that predicts missing joint states, and wrap the controller with it.

    Args:
        controller: controller of the arm.
        state_predictor: folder of the time-series model.
        config: how long to predict.

    Raises:
        ValueError: the model cannot be used for this arm.
    """
    # slow to import
    from invdyn_ros.control.learned_state_predictor import LearnedStatePredictor
    from invdyn_ros.models.timeseries.registry import load_time_series_model

    model = load_time_series_model(state_predictor)
    return DropoutController(controller, LearnedStatePredictor(model, controller.robot, config))

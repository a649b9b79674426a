"""Checks of the launch arguments of every graph, and the values that follow from them."""

from __future__ import annotations

import socket
from pathlib import Path

from invdyn_ros.control.faults import MeasurementMonitorConfig
from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.data.output_options import RUN_MEDIA
from invdyn_ros.graph.arguments import BOOLEAN_VALUES
from invdyn_ros.graph.checkpoints import (
    find_checkpoint,
    find_payload,
    find_state_predictor,
    read_command_unit,
)
from invdyn_ros.graph.drivers import resolve_driver
from invdyn_ros.graph.templates import ArgumentValues
from invdyn_ros.graph.topics import CLOCK
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.robot import ROBOTS
from invdyn_ros.robots.robot_spec import RobotSpec

# periods without a joint state that are a fault: one servo that does not answer costs a reading
MISSED_READINGS = 4
TOOL_SPEEDS = {"sim": 1.0, "real": 0.25}  # [m/s]; 0.25 is the limit of ISO 10218 beside a person


def resolve_common(values: ArgumentValues) -> None:
    """Check the common arguments and derive values from them."""
    arm, real = values["arm"], values["target"] == "real"
    driver = resolve_driver(values["driver"], arm, real)
    values["driver"], values["driver_gripper"] = driver.file, driver.has_gripper
    values["joint_map"], values["remappings"] = driver.joint_map, driver.remappings()
    if real and values["lockstep"] == "true":
        raise ValueError("lockstep:=true needs target:=sim; a real arm does not wait")
    if real and not values["driver"]:
        values |= _slow_readings(ROBOTS[arm])
    values["tool_speed"] = values["tool_speed"] or TOOL_SPEEDS[values["target"]]
    if values["obstacles"]:
        file = Path(values["obstacles"]).absolute()
        load_obstacles(file)  # raises before any node starts
        values["obstacles"] = str(file)
    values["use_sim_time"] = values["use_sim_time"] or ""  # else not set
    if values["use_sim_time"] and not real:  # rclpy has one clock for all namespaces
        values["remappings"] = {**values["remappings"], "/clock": CLOCK}
    values["engaged"] = BOOLEAN_VALUES.get(values["engage"], not real)
    torque = values["needs_torque"]
    checkpoint = find_checkpoint(values["checkpoint"], arm, real and not torque)
    values["checkpoint"], values["unit"] = str(checkpoint), read_command_unit(checkpoint, arm)
    if torque and values["unit"] != TORQUE:
        raise ValueError(
            f"checkpoint {checkpoint} has actions in '{values['unit']}'; {values['graph']} needs "
            f"torques [{TORQUE}], as of ur5 in simulation"
        )
    if real and values["unit"] not in driver.units:
        taken = " or ".join(f"'{name}'" for name in driver.units)
        unit = values["unit"]
        raise ValueError(
            f"checkpoint {checkpoint} has actions in '{unit}'; a real {arm} takes {taken}"
        )
    if values["payload"]:
        values["payload"] = str(find_payload(values["payload"], arm, values["unit"]))
    if values["state_predictor"]:
        values["state_predictor"] = str(find_state_predictor(values["state_predictor"], arm))
    _check_view_port(values["view"], values["view_port"])
    report, record = values["report"], values["record"]
    if report and (not report.endswith(".json") or Path(report).is_dir()):
        raise ValueError(f"report:={report} is not a .json file")
    if report and not values["overwrite"]:
        _check_new(Path(report))
    if record and Path(record).exists():
        raise ValueError(f"record:={record} exists already; a recording needs a new directory")


def _slow_readings(spec: RobotSpec) -> dict[str, float]:
    """Return thresholds of the faults for a driver that reads the joints at less than the rate."""
    rate, defaults = spec.driver_rate, MeasurementMonitorConfig()
    if rate is None:
        return {}
    return {
        "joint_state_timeout": MISSED_READINGS / rate,
        "max_gap": (MISSED_READINGS + 1) / rate,
        # an arm goes farther between two joint states, and gets its commands later
        "position_jump": defaults.position_jump * spec.rate / rate,
        "servo_lag": defaults.servo_lag + 1 / rate,
    }


def _check_new(report: Path) -> None:
    """Check that no earlier run has written a report or a film there."""
    media = [report.with_name(name) for name in RUN_MEDIA]
    for file in (report, report.with_suffix(".html"), *media):
        if file.exists():
            raise ValueError(
                f"report:={report}: {file} exists; give a file in another folder, or "
                "overwrite:=true to replace it"
            )


def _check_view_port(view: bool, port: int) -> None:
    """Check that the live window is wanted where its port is given, and can be served there."""
    if port and not view:
        raise ValueError(f"view_port:={port} needs view:=true")
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ValueError(
            f"view_port:={port}: {error.strerror}; give another one, or 0 for any"
        ) from error

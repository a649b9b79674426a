"""Graph in which an arm follows the motion of a file and is recorded."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.data.action_units import ACTION_UNITS
from invdyn_ros.data.output_options import is_used
from invdyn_ros.graph.arguments import BOOLEAN_VALUES, PlayMotionArguments
from invdyn_ros.graph.templates import (
    INVERSE_DYNAMICS_PARAMETERS,
    SIMULATOR_PARAMETERS,
    ArgumentValues,
    Graph,
    NodeTemplate,
    driver_templates,
    is_simulated,
    set_lockstep,
    state_template,
    view_template,
)
from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, JOINT_TARGET
from invdyn_ros.robots.robot import load_robot

NEEDED = ("motion", "out")
UNUSED = ("report", "record", "duration")  # the dataset is the only output


def _resolve_play_motion(values: ArgumentValues) -> None:
    """Check the arguments of play_motion and derive values from them."""
    from invdyn_ros.control.joint_motion import load_motion  # slow to import

    for name in NEEDED:
        if not values[name]:
            raise ValueError(f"play_motion needs {name}:=")
        values[name] = str(Path(values[name]).absolute())
    for name in UNUSED:
        if values[name]:
            raise ValueError(f"play_motion writes a dataset; leave {name}:= out")
    if is_used(Path(values["out"])) and not values["overwrite"]:
        raise ValueError(
            f"out:={values['out']} exists; give another folder, or overwrite:=true to replace it"
        )
    if values["effort_unit"] not in ACTION_UNITS:
        raise ValueError(
            f"effort_unit:={values['effort_unit']} is not one of {', '.join(ACTION_UNITS)}"
        )
    motion = load_motion(Path(values["motion"]), load_robot(values["arm"]))
    if values["tool_speed"] < motion.tool_speed:
        raise ValueError(
            f"motion:={values['motion']} is made for {motion.tool_speed:g} m/s, the graph allows "
            f"{values['tool_speed']:g}: give tool_speed:={motion.tool_speed:g}, or make it with "
            f"'invdyn excite --tool-speed {values['tool_speed']:g}'"
        )
    set_lockstep(values, BOOLEAN_VALUES.get(values["lockstep"], is_simulated(values)))
    values["wait_for_topics"] = " ".join((JOINT_TARGET, DESIRED_JOINT_STATE))


PLAY_MOTION = Graph(
    "an arm follows the motion of a file, and a dataset of it is written",
    PlayMotionArguments,
    (
        NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
        NodeTemplate("simulator", SIMULATOR_PARAMETERS, is_simulated),
        *driver_templates(),
        state_template(),
        view_template(),
        NodeTemplate(
            "motion_player",
            ("arm", "motion", "out", "effort_unit", "tf_prefix"),
            ends_graph=True,
        ),
    ),
    _resolve_play_motion,
)

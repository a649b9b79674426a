"""Graph in which an arm floats, so that a hand can move it."""

from __future__ import annotations

from invdyn_ros.graph.arguments import GravityCompensationArguments
from invdyn_ros.graph.templates import (
    INVERSE_DYNAMICS_PARAMETERS,
    REPORT_PARAMETERS,
    SIMULATOR_PARAMETERS,
    ArgumentValues,
    Graph,
    NodeTemplate,
    driver_templates,
    is_simulated,
    state_template,
    view_template,
)
from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, PUSH


def _resolve_gravity_compensation(values: ArgumentValues) -> None:
    """Check the arguments of gravity_compensation and derive values from them."""
    if values["state_predictor"]:
        raise ValueError("an arm that floats has no plan; leave state_predictor out")
    values["lockstep"] = values["simulated_time"] = values["lockstep"] == "true"
    values["wall_clock"] = not values["lockstep"]
    values["resume"] = is_simulated(values) and not values["lockstep"]
    values["floating"] = True
    pushes = is_simulated(values) and values["push"] > 0
    # of a simulation in lockstep, which waits for them before it starts
    values["wait_for_topics"] = " ".join((DESIRED_JOINT_STATE, *([PUSH] if pushes else [])))
    # a run without an end of which nothing is written needs no report node
    values["reports"] = any(values[k] for k in ("report", "record", "duration"))


GRAVITY_COMPENSATION = Graph(
    "an arm floats: a hand moves it, and it stays where it was left",
    GravityCompensationArguments,
    (
        NodeTemplate(
            "push",
            ("arm", "push", "tf_prefix"),
            lambda values: is_simulated(values) and values["push"] > 0,
        ),
        NodeTemplate("inverse_dynamics", (*INVERSE_DYNAMICS_PARAMETERS, "floating")),
        NodeTemplate("simulator", SIMULATOR_PARAMETERS, is_simulated),
        *driver_templates(),
        state_template(),
        view_template(),
        NodeTemplate(
            "report", REPORT_PARAMETERS, lambda values: values["reports"], ends_graph=True
        ),
    ),
    _resolve_gravity_compensation,
    needs_torque=True,
)

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
    set_lockstep,
    state_template,
    view_template,
)
from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, PUSH


def _resolve_gravity_compensation(values: ArgumentValues) -> None:
    """Check the arguments of gravity_compensation and derive values from them."""
    if values["state_predictor"]:
        raise ValueError("an arm that floats has no plan; leave state_predictor out")
    set_lockstep(values, values["lockstep"] == "true")
    values["floating"] = True
    values["pushes"] = is_simulated(values) and values["push"] > 0
    topics = (DESIRED_JOINT_STATE, PUSH) if values["pushes"] else (DESIRED_JOINT_STATE,)
    values["wait_for_topics"] = " ".join(topics)
    # a run without an end of which nothing is written needs no report node
    values["reports"] = any(values[k] for k in ("report", "record", "duration"))


GRAVITY_COMPENSATION = Graph(
    "an arm floats: a hand moves it, and it stays where it was left",
    GravityCompensationArguments,
    (
        NodeTemplate("push", ("arm", "push", "tf_prefix"), lambda values: values["pushes"]),
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

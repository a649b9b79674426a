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


def _resolve_gravity_compensation(values: ArgumentValues) -> None:
    """Check the arguments of gravity_compensation and derive values from them."""
    for name, is_given in (
        ("lockstep", values["lockstep"] == "true"),
        ("state_predictor", bool(values["state_predictor"])),
    ):
        if is_given:
            raise ValueError(f"an arm that floats follows no targets; leave {name} out")
    values["lockstep"], values["wall_clock"], values["simulated_time"] = False, True, False
    values["resume"] = is_simulated(values)
    values["floating"] = True
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

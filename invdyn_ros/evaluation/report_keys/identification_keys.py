"""Columns of the benchmarks that identify an arm."""

from __future__ import annotations

from collections.abc import Mapping

from invdyn_ros.evaluation.report_keys.report_key import Keys, ReportKey

BODIES = {
    "physical links": ReportKey("links with a positive definite pseudo-inertia; should be all"),
    "least eigenvalue of M": ReportKey(
        "of the joint-space inertia in 10,000 postures; should be positive", "kg m2"
    ),
    "moving": ReportKey("error of moving joints on the held-out part", "% nMSE"),
}
"""Figures of identified rigid bodies."""

IDENTIFICATION_COLUMNS: Mapping[str, Keys] = {
    "excitation": {
        "contacts": ReportKey("control ticks with a contact; should be 0"),
        "violations": ReportKey("violations of a limit, checked independently; should be 0"),
        "held": ReportKey("control ticks in which the motion guard held or slowed the arm"),
        "driven s": ReportKey("duration of the excitation until it ended", "s"),
        "design s": ReportKey("time that its design took", "s"),
        "wall s": ReportKey("time from nothing to the exported model", "s"),
        "nominal mrad": ReportKey("tracking error of the first part, before any model", "mrad"),
        "validation mrad": ReportKey("tracking error from point to point with the model", "mrad"),
        "moving nmse": ReportKey("error of moving joints on that recording", "% nMSE"),
        "narrower": ReportKey("intervals of a random motion by those of the excitation"),
        "width": ReportKey("widest interval, relative", "%", optional=True),
    },
    "identification": {
        **{name: key._replace(optional=True) for name, key in BODIES.items()},
        "links": ReportKey("links of the arm", optional=True),
        "least diagonal of M": ReportKey("in the same postures", "kg m2", optional=True),
        "moving without bounds": ReportKey(
            "the same of a fit without bounds, same delay and lag", "% nMSE", optional=True
        ),
        "moving without bounds, lag": ReportKey(
            "the same with a lag of the whole effort of at least 20 ms", "% nMSE", optional=True
        ),
        "standing": ReportKey("error of standing joints", "% nMSE", optional=True),
        "standing without presliding": ReportKey(
            "the same without the friction that joints hold at rest", "% nMSE", optional=True
        ),
        "least diagonal without bounds": ReportKey(
            "least diagonal of M of the fit without bounds", "kg m2", optional=True
        ),
        "action delay ms": ReportKey("identified delay; negative: late effort", "ms", True),
        "effort lag ms": ReportKey("largest identified lag of a joint", "ms", optional=True),
        "condition number": ReportKey(
            "of the regression of the base parameters, columns of unit length", optional=True
        ),
        "base parameters": ReportKey(
            "combinations of parameters that the torques depend on", optional=True
        ),
        "not identified": ReportKey(
            "base parameters that the motion does not determine", optional=True
        ),
        "trials": ReportKey("recoveries of known parameters", optional=True),
        "within 2 std": ReportKey(
            "parameters within two standard deviations of the true ones; 95.4 if calibrated",
            "%",
            optional=True,
        ),
        "within 3 std": ReportKey(
            "parameters within three standard deviations; 99.7 if calibrated", "%", optional=True
        ),
        "trials all within 3 std": ReportKey(
            "trials with all parameters within three standard deviations", "%", optional=True
        ),
        "worst parameter within 3 std": ReportKey(
            "trials in which the worst parameter is within three", "%", optional=True
        ),
        "median relative std": ReportKey(
            "standard deviation by the true value, median", "%", optional=True
        ),
        "payloads": ReportKey("identified payloads of unknown mass and place", optional=True),
        "worst mass error": ReportKey("of these payloads", "%", optional=True),
        "median mass error": ReportKey("of these payloads", "%", optional=True),
        "worst center error mm": ReportKey("distance from the true centre", "mm", optional=True),
        "median center error mm": ReportKey("distance from the true centre", "mm", optional=True),
        "within 95% interval": ReportKey(
            "masses and coordinates of centres inside their intervals; 95 if calibrated",
            "%",
            optional=True,
        ),
    },
    "model_drift": {
        "minutes": ReportKey("duration of the ordinary runs", "min"),
        "false alarms": ReportKey("ordinary runs in which something was named"),
        "largest load": ReportKey("largest estimate in ordinary runs", "kg"),
        "largest friction": ReportKey("the same, of the effort limit of its joint", "%"),
        "load median s": ReportKey("time of motion until the load was named", "s"),
        "load worst s": ReportKey("largest such time", "s"),
        "load not named": ReportKey("runs with the load in which it was not"),
        "friction median s": ReportKey("time until the friction of a joint was named", "s"),
        "friction worst s": ReportKey("largest such time", "s"),
        "friction not named": ReportKey("joints of the worn arm, in each run, that were not"),
    },
    "sysid": {
        **BODIES,
        "simulated": ReportKey(
            "RMS error of the velocity in simulations of half a second from measured states, "
            "relative to its standard deviation",
            "%",
            optional=True,
        ),
        "parameters": ReportKey("relative error of the base parameters, median", "%", True),
        "friction": ReportKey(
            "relative error of viscous and Coulomb friction, median", "%", optional=True
        ),
        "torque of inertia": ReportKey(
            "error of the torques of inertia and gravity, from the true parameters", "% nMSE", True
        ),
        "duration": ReportKey("of the identification", "s"),
    },
}
"""Benchmark -> column of its rows -> meaning."""

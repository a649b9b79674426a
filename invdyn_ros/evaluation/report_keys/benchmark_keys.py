"""Keys of the reports of `invdyn benchmark NAME`."""

from __future__ import annotations

from collections.abc import Mapping

from invdyn_ros.evaluation.report_keys.benchmark_details import DETAILS
from invdyn_ros.evaluation.report_keys.identification_keys import IDENTIFICATION_COLUMNS
from invdyn_ros.evaluation.report_keys.report_key import QUANTILES, Keys, ReportKey

SHARED_KEYS = {
    "benchmark": ReportKey("name of the benchmark"),
    "unit": ReportKey("units of the columns, in words"),
    "machine": ReportKey("machine that measured, and its load before"),
    "machine.cpu": ReportKey("processor"),
    "machine.cores": ReportKey("processor cores that it could use"),
    "machine.load_average": ReportKey(
        "processes that wanted to run in the last 1, 5 and 15 minutes"
    ),
    "machine.system": ReportKey("operating system"),
    "machine.python": ReportKey("version of Python"),
    "machine.torch": ReportKey("version of PyTorch"),
    "machine.torch_threads": ReportKey("threads of PyTorch"),
    "machine.gpu": ReportKey("graphics processor", optional=True),
    "machine.date": ReportKey("time at which the measurement began, UTC"),
    "settings": ReportKey("what the figures depend on; most are options of the command"),
    "settings.**": ReportKey("setting of that name", optional=True),
    "rows": ReportKey("measured figures of each method"),
    "ratio": ReportKey("figures of a method divided by those of another; 1 is equal"),
    "ratio.*.*": ReportKey("ratio of the columns of that name", optional=True),
}

LOW, HIGH = "lower end of its 95% interval", "upper end of its 95% interval"
EACH_QUANTILE = {name: ReportKey(text) for name, text in QUANTILES.items()}


def _unit(keys: Keys, unit: str) -> dict[str, ReportKey]:
    return {name: key._replace(unit=unit) for name, key in keys.items()}


def _optional(keys: Keys) -> dict[str, ReportKey]:
    return {name: key._replace(optional=True) for name, key in keys.items()}


def _quantiles(unit: str, *names: str) -> dict[str, ReportKey]:
    return _unit({name: EACH_QUANTILE[name] for name in names}, unit)


def _errors(name: str, text: str, unit: str) -> dict[str, ReportKey]:
    """Return the columns of the median and 95th percentile of an error."""
    return {
        f"{name} {q}": ReportKey(f"{text}, {QUANTILES[q]}", unit, optional=True)
        for q in ("p50", "p95")
    }


COLUMNS: Mapping[str, Keys] = {
    **IDENTIFICATION_COLUMNS,
    "block_detection": {
        "n": ReportKey("images of blocks of that size or condition"),
        "detected": ReportKey("images in which the block was detected", "%"),
        **_errors("xy", "error across the line of sight", "mm at 0.3 m"),
        **_errors("z", "error along the line of sight", "mm at 0.3 m"),
        **_errors("deg", "error of the rotation", "deg"),
        "flips": ReportKey(
            "detections with the wrong one of two poses that look alike", "%", optional=True
        ),
        "flips low": ReportKey(LOW, "%", optional=True),
        "flips high": ReportKey(HIGH, "%", optional=True),
        "in 50%": ReportKey("errors inside the predicted 50% ellipsoid", "%", optional=True),
        "in 95%": ReportKey("errors inside the predicted 95% ellipsoid", "%", optional=True),
        "xyz in 95%": ReportKey("the same of the position alone", "%", optional=True),
        "ms": ReportKey("duration of a detection, median", "ms"),
    },
    "closed_loop": {
        "rms": ReportKey("RMS tracking error over all motions", "mrad"),
        "low": ReportKey(LOW, "mrad"),
        "high": ReportKey(HIGH, "mrad"),
        "point to point": ReportKey(
            "RMS tracking error over motions of another kind than the training's", "mrad"
        ),
        "no delay compensation": ReportKey("RMS without the action delay of the model", "mrad"),
        "jerk": ReportKey("RMS rate of the command", "effort limits per s"),
        "fallback": ReportKey("commands in which the fallback replaced the model", "%"),
    },
    "data_efficiency": {
        "*": ReportKey("error on held-out motion after training on that many samples", "% nMSE")
    },
    "dynamics": {"*": ReportKey("evaluations per second in batches of that size", "1/s")},
    "environment": {"*": ReportKey("figure of that name, per second", optional=True)},
    "files": {
        "files": ReportKey("damaged files that were read"),
        "refused": ReportKey("refused with one line that names the file"),
        "accepted": ReportKey("read, because the damage does not matter"),
        "traceback": ReportKey("failures: an error that nobody caught"),
        "several_lines": ReportKey("failures: refused with more than one line"),
        "hang": ReportKey("failures: reading did not end"),
        "crash": ReportKey("failures: the process died"),
        "wrong_acceptance": ReportKey("failures: read as something else than the valid file"),
        "file_not_named": ReportKey("failures: refused without the name of the file"),
    },
    "grasp_success": {
        "n": ReportKey("episodes"),
        "success": ReportKey("episodes in which the block was released at its goal", "%"),
        "ci_low": ReportKey(LOW, "%"),
        "ci_high": ReportKey(HIGH, "%"),
        "lifted": ReportKey("episodes in which the block was lifted; alone no success", "%"),
        "stopped": ReportKey("failed: a fault or the motion guard stopped the arm", "%"),
        "not_detected": ReportKey("failed: the block was never detected", "%"),
        "missed_grasp": ReportKey("failed: the block was never held", "%"),
        "slipped": ReportKey("failed: the block was held and lost", "%"),
        "misplaced": ReportKey("failed: the block was released off its goal", "%"),
        "timeout": ReportKey("failed: the time was over", "%"),
        "median_success_time_s": ReportKey("median time to success", "s", optional=True),
        "wall_time_s": ReportKey("mean duration of an episode on this machine", "s"),
        "success_difference": ReportKey(
            "success minus that of the scripted policy in the same episodes", "%", optional=True
        ),
        "difference_ci_low": ReportKey(LOW, "%", optional=True),
        "difference_ci_high": ReportKey(HIGH, "%", optional=True),
    },
    "grasp_tasks": {
        "n": ReportKey("episodes"),
        "success": ReportKey("episodes with every block released at its goal", "%"),
        "ci_low": ReportKey(LOW, "%"),
        "ci_high": ReportKey(HIGH, "%"),
        "disturbed": ReportKey("episodes in which the disturbance took place before the end", "%"),
        "median_success_time_s": ReportKey("median time to success", "s", optional=True),
        "wall_time_s": ReportKey("mean duration of an episode on this machine", "s"),
    },
    "teleop_grasp": {
        "n": ReportKey("blocks"),
        "placed": ReportKey("blocks that were released at their goal and still lay there", "%"),
        "ci_low": ReportKey(LOW, "%"),
        "ci_high": ReportKey(HIGH, "%"),
        "lifted": ReportKey("blocks that were lifted by 40 mm", "%"),
        "violations": ReportKey("control ticks with a joint beyond a limit"),
        "contacts": ReportKey("control ticks in which the arm touched the table or itself"),
        "faults": ReportKey("faults, after which the person engaged the arm again"),
        "median_seconds": ReportKey("median duration of placed blocks", "s", optional=True),
    },
    "hand_eye": {
        **_errors("mm", "error of the position of the camera", "mm"),
        **_errors("deg", "error of its rotation", "deg"),
        "mm within %": ReportKey("calibrations with a small enough position error", "%"),
        "deg within %": ReportKey("calibrations with a small enough rotation error", "%"),
    },
    "joint_state_dropout": {
        "ms": ReportKey("duration of a prediction, median", "ms", optional=True),
        "*": ReportKey(
            "RMS tracking error [mrad] at that drop rate, or nMSE [%] at that observed fraction",
            optional=True,
        ),
    },
    "latency": {
        **_quantiles("ms", "p50", "p95", "p99", "max"),
        "sent": ReportKey("joint states that were sent"),
        "received": ReportKey("commands that came back"),
    },
    "latent_ode_training_speed": {
        **_quantiles("s", "p10", "p50", "p90", "max"),
        "error": ReportKey("largest error of the latent states against an exact solution"),
        "rms": ReportKey("root mean square of that error"),
    },
    "learning_curves": {
        "timesteps": ReportKey("training steps to that success rate", optional=True),
        "minutes": ReportKey("training time to it", "min", optional=True),
        "best_success": ReportKey("success of the best policy", "%"),
        "ci_low": ReportKey(LOW, "%"),
        "ci_high": ReportKey(HIGH, "%"),
        "total_timesteps": ReportKey("training steps in all"),
        "total_minutes": ReportKey("training time in all", "min"),
    },
    "startup": {
        "s": ReportKey(
            "time from the launch, or from the signal to the end of the last process; median over "
            "the runs",
            "s",
            optional=True,
        ),
        "max s": ReportKey("longest such time", "s", optional=True),
        "tracebacks": ReportKey(
            "in the output after a signal to the launcher, all runs", optional=True
        ),
        "orphans": ReportKey("processes that outlived the launcher, all runs", optional=True),
        "RSS MB": ReportKey("resident memory of the process, median", "MB", optional=True),
        "PSS MB": ReportKey(
            "the same, shared pages divided by the number of processes", "MB", optional=True
        ),
        "peak MB": ReportKey("largest resident memory so far, median", "MB", optional=True),
    },
    "persons": {
        "violations": ReportKey("control steps beyond a limit, worst arm"),
        "contacts": ReportKey("control steps with a contact, worst arm"),
        "faults": ReportKey("faults that stopped the arm, worst arm"),
        "phantoms": ReportKey(
            "images in which somebody or something else than the operator was followed"
        ),
        "followed %": ReportKey("images in which the arm followed, worst arm", "%"),
        "lag ms": ReportKey("of the arm behind the person, worst arm", "ms", optional=True),
        "wrist p95 mm": ReportKey(
            "95th percentile of the distance of the tool from the scaled hand, as the unfiltered "
            "landmarks have it, at the time of the image, where it is reachable and not faster "
            "than the arm; worst arm",
            "mm",
            optional=True,
        ),
        "after lag p95 mm": ReportKey("the same, one lag later", "mm", optional=True),
    },
    "teleop_lag": {
        "lag ms": ReportKey(
            "delay of the tool behind the true hand, by cross-correlation", "ms", optional=True
        ),
        "overshoot %": ReportKey(
            "of a wave: tool's amplitude over the hand's, minus one; of a reach: how far the tool "
            "goes beyond its end, over its length",
            "%",
            optional=True,
        ),
        **{
            f"jitter {axis} mm": ReportKey(
                "standard deviation of the tool while the hand rests", "mm", optional=True
            )
            for axis in ("depth", "width", "height")
        },
    },
    "live_window": {
        **_quantiles("ms", "p50", "p95", "p99", "max"),
        "commands": ReportKey("commands that were timed", optional=True),
    },
    "lottery_ticket": {
        "*": ReportKey(
            "error [% of the variance], latency [us] or units left, as the row says, with that "
            "part of the weights removed",
            optional=True,
        )
    },
    "model": _quantiles("us", "p50", "p95", "p99", "max"),
    "network_page": {
        **_quantiles("ms", "p50", "p95", "p99", "max"),
        "megabytes": ReportKey("size of the page", "MB", optional=True),
        "frames_per_s": ReportKey("frames of the film drawn and encoded", "1/s", optional=True),
    },
    "multimodal": {
        "near_mode": ReportKey("samples within 5% of one of the two actions", "%", optional=True),
        "positive": ReportKey("those of them near the positive one", "%", optional=True),
        "error": ReportKey("mean relative distance to the nearer action", "%", optional=True),
        "rms": ReportKey("root mean square of that distance", "%", optional=True),
        "nmse": ReportKey(
            "squared error of the mean prediction by the variance", "%", optional=True
        ),
    },
    "planning": {
        "return": ReportKey("return: 0 is random, 100 is the planner without a shift", "%"),
        "low": ReportKey(LOW, "%"),
        "high": ReportKey(HIGH, "%"),
        "score": ReportKey("mean return of an episode"),
        "final_distance": ReportKey("distance from the goal at the end", "rad"),
        "action_smoothness": ReportKey("RMS change of the action between steps", "N m"),
        **_optional(_quantiles("ms", "p50", "p95", "p99", "max")),
    },
    "safety": {
        "ticks": ReportKey("control ticks", optional=True),
        "moving": ReportKey("ticks in which the arm moved", optional=True),
        "targets": ReportKey("targets that were sent", optional=True),
        "violations": ReportKey("violations of a limit; should be 0", optional=True),
        "faults": ReportKey("faults of the motion guard", optional=True),
        "contacts": ReportKey("contacts of the arm", optional=True),
        "p50 ms": ReportKey("duration of a tick, median", "ms", optional=True),
        "p99 ms": ReportKey("duration of a tick, 99th percentile", "ms", optional=True),
        "passed": ReportKey("runs without a problem", optional=True),
        "runs": ReportKey("runs with that fault", optional=True),
        "excursion mrad": ReportKey("largest motion after the fault", "mrad", optional=True),
        "peak speed": ReportKey("largest joint speed, by the rated one", optional=True),
        "detection ms": ReportKey("longest time until its detection", "ms", optional=True),
        "first command mrad": ReportKey(
            "largest distance of the first command from the measured joints", "mrad", optional=True
        ),
        "rms mrad": ReportKey("RMS tracking error", "mrad", optional=True),
        "held": ReportKey("fraction of the time in which the arm was held", optional=True),
        "*": ReportKey("figure of that name of a live fault", optional=True),
    },
    "csv": {
        "s": ReportKey("duration of reading the file", "s"),
        "MB": ReportKey("increase of the peak memory", "MB"),
    },
    "sequence_length": {
        "slope of s": ReportKey("growth of the duration: 1 is linear in the samples"),
        "slope of MB": ReportKey("growth of the memory: 1 is linear in the samples"),
        "*": ReportKey("duration [s] or memory [MB] with that many samples"),
    },
    "simulation": {"*": ReportKey("steps or images per second, as its name says", "1/s")},
    "time_series": {
        "*": ReportKey(
            "mean squared error of scaled states x 100, in the task of that name: observed "
            "fraction, or samples given -> predicted",
            optional=True,
        )
    },
    "training": {
        "windows_per_s": ReportKey("training windows per second", "1/s"),
        "ms_per_step": ReportKey("duration of a training step", "ms"),
    },
}
"""Benchmark -> column of its rows -> meaning."""

BENCHMARK_KEYS: dict[str, Keys] = {
    name: {
        **SHARED_KEYS,
        **{f"rows.*.{column}": key for column, key in columns.items()},
        **DETAILS.get(name, {}),
    }
    for name, columns in sorted(COLUMNS.items())
}

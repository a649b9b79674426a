"""Keys of the reports of benchmarks beside the table of rows."""

from __future__ import annotations

from collections.abc import Mapping

from invdyn_ros.evaluation.report_keys.report_key import Keys, ReportKey

CURVE_POINT = {"mean": "mean over the draws", "low": "least draw", "high": "largest draw"}

DETAILS: Mapping[str, Keys] = {
    "data_efficiency": {
        "curves": ReportKey("all draws by family and number of samples"),
        "curves.*.*.nmse": ReportKey("error on all held-out samples", "% nMSE"),
        "curves.*.*.moving": ReportKey("error without joints that may stick", "% nMSE"),
        **{
            f"curves.*.*.{measure}.{name}": ReportKey(text, "% nMSE")
            for measure in ("nmse", "moving")
            for name, text in (CURVE_POINT | {"draws": "each draw"}).items()
        },
    },
    "files": {
        "failures": ReportKey("files that were not handled as they should be"),
        "failures[].kind": ReportKey("kind of file", optional=True),
        "failures[].seed": ReportKey("seed of the damage", optional=True),
        "failures[].number": ReportKey("number of the file", optional=True),
        "failures[].outcome": ReportKey("what happened; a column of the table", optional=True),
        "failures[].damage": ReportKey("what was damaged", optional=True),
        "failures[].message": ReportKey("what was printed", optional=True),
    },
    "grasp_success": {
        "pairs": ReportKey("episodes of each policy beside the scripted one"),
        "pairs.*.both": ReportKey("both succeeded", optional=True),
        "pairs.*.policy_only": ReportKey("only the policy succeeded", optional=True),
        "pairs.*.scripted_only": ReportKey("only the scripted one succeeded", optional=True),
        "pairs.*.neither": ReportKey("neither succeeded", optional=True),
        "failed_episodes": ReportKey("numbers of the failed episodes by policy and cause"),
        "failed_episodes.*.*": ReportKey("episodes that failed for that cause", optional=True),
    },
    "grasp_tasks": {
        "reasons": ReportKey("what the policy reported at the end of failed episodes, by row"),
        "reasons.*.*": ReportKey("episodes that ended with this reason", optional=True),
    },
    "teleop_grasp": {
        "failures": ReportKey("blocks that were not placed"),
        "failures[].episode": ReportKey("number of the episode", optional=True),
        "failures[].phase": ReportKey("what the person did at the end", optional=True),
        "failures[].faults": ReportKey("faults of the controller", optional=True),
    },
    "persons": {
        "holds": ReportKey("why the first arm held, by clip"),
        "holds.*.*": ReportKey("images for which it held for this reason", optional=True),
    },
    "joint_state_dropout": {
        "details": ReportKey("95% interval of each tracking error", "mrad"),
        "details.*.*": ReportKey("lower and upper end at that drop rate", "mrad"),
    },
    "learning_curves": {
        "curves": ReportKey("all evaluations of each run"),
        "curves.*[].timesteps": ReportKey("training steps before the evaluation"),
        "curves.*[].seconds": ReportKey("time since the start of the run", "s"),
        "curves.*[].successes": ReportKey("successful episodes"),
        "curves.*[].episodes": ReportKey("episodes"),
        "curves.*[].mean_reward": ReportKey("mean return of the episodes"),
    },
    "live_window": {
        "received": ReportKey("messages that the open page received"),
        "received.*": ReportKey("messages of that kind", optional=True),
    },
    "lottery_ticket": {
        "curves": ReportKey("error against sparsity, by network and kind of ticket"),
        "curves.*.*.sparsity": ReportKey("weights removed", "%"),
        "curves.*.*.mean": ReportKey("mean error of the seeds", "% of the variance"),
        "curves.*.*.low": ReportKey("least error of the seeds", "% of the variance"),
        "curves.*.*.high": ReportKey("largest error of the seeds", "% of the variance"),
    },
    "safety": {
        "details": ReportKey("violations, worst values, faults and holds of each part"),
        "details.**": ReportKey("detail of that name", optional=True),
    },
    "time_series": {
        "details": ReportKey("parts of each error, by method and task"),
        "details.*.*.per_model": ReportKey("error of each model"),
        "details.*.*.ci95": ReportKey("95% interval over the motions"),
        "details.*.*.hidden": ReportKey("error of the unobserved samples"),
        "details.*.*.outside": ReportKey("error before the first and after the last observation"),
        "details.*.*.by_gap": ReportKey("error in gaps of each length; see gap_bounds"),
        "gap_bounds": ReportKey("shortest gap of each class", "samples"),
    },
}
"""Benchmark -> keys of its report beside the shared ones -> meaning."""

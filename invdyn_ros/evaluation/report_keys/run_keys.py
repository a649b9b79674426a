"""Keys of the reports of `invdyn launch`."""

from __future__ import annotations

from invdyn_ros.evaluation.report_keys.report_key import ReportKey, below, quantile_keys

FAULT = {
    "time": ReportKey("time since the start of the run or episode", "s", optional=True),
    "episode": ReportKey("number of the episode, counted from 0", optional=True),
    "node": ReportKey("node that reported it", optional=True),
    "text": ReportKey("what it said", optional=True),
    "reason": ReportKey("kind of fault", optional=True),
    "joint": ReportKey("joint concerned", optional=True),
    "value": ReportKey("value that caused it, in its unit", optional=True),
    "unit": ReportKey("unit of value and limit", optional=True),
    "limit": ReportKey("limit that the value is beyond, in the same unit", optional=True),
}

COMMON_KEYS = {
    "arm": ReportKey("name of the arm"),
    "checkpoint": ReportKey("inverse-dynamics model that drove the arm"),
    "lockstep": ReportKey("whether the simulation waited for every node, in simulated time"),
    "ended_by": ReportKey("why the run ended"),
    "error": ReportKey("why the report has no figures", optional=True),
    "limit_violations": ReportKey(
        "samples outside the rated limits of the arm, measured and desired"
    ),
    "limit_violations_by_kind": ReportKey("the same by what was outside"),
    "limit_violations_by_kind.*": ReportKey("samples"),
    "contacts": ReportKey("contacts of the simulated arm by pair of bodies"),
    "contacts.*": ReportKey("number of contacts", optional=True),
    "faults": ReportKey("faults: stops that last until somebody intervenes"),
    **below("faults[]", FAULT),
    "held_share": ReportKey(
        "fraction of the time, from the first image on, in which a node held the arm or had a "
        "fault; none without joint states"
    ),
    "hold_counts": ReportKey("how often the arm was held, by node and reason"),
    "hold_counts.*": ReportKey("number of holds", optional=True),
    "ignored_messages": ReportKey("recorded messages that could not be read, by topic"),
    "ignored_messages.*": ReportKey("number of messages", optional=True),
}

FOLLOWING_KEYS = {
    **COMMON_KEYS,
    "tracking_max_rad": ReportKey(
        "largest error of a joint against the desired motion; none if nothing was desired", "rad"
    ),
    "plan_jumps": ReportKey(
        "jumps of the desired motion: it starts anew at the measured arm, as after a fault"
    ),
    "model_drift": ReportKey("when the arm came to differ from its model, and in what"),
    **below("model_drift[]", {name: FAULT[name] for name in ("time", "episode", "text")}),
}
"""Keys of arms that follow a plan."""

FLOATING_KEYS = {
    **COMMON_KEYS,
    "floating_s": ReportKey("time from the first torque to the end of the run", "s"),
    "drift_mrad_per_min": ReportKey(
        "largest drift of a joint at rest while nobody pushes; none without a second of rest",
        "mrad/min",
    ),
    "pushes": ReportKey("pushes of the scripted hand, or of another node on sim/push"),
    "pushes[].time": ReportKey("start since the first torque", "s", optional=True),
    "pushes[].seconds": ReportKey("duration", "s", optional=True),
    "pushes[].force": ReportKey("mean force along the axes of the base", "N", optional=True),
    "pushes[].moved_mm": ReportKey("distance of the tool from its start", "mm", optional=True),
    "pushes[].tool_speed": ReportKey("largest speed of the tool", "m/s", optional=True),
    "pushes[].stopped_after_s": ReportKey(
        "time from the last force until all joints rest", "s", optional=True
    ),
    "pushes[].coasted_mm": ReportKey("distance of the tool in that time", "mm", optional=True),
    "tool_speed_max": ReportKey("largest speed of the tool", "m/s"),
    "soft_stop_share": ReportKey("fraction of the time in which a soft stop acted"),
}

LIMB_ERROR = ReportKey(
    "angle between the directions of the arm's and the person's upper arm and forearm", "deg"
)
WRIST_ERROR = ReportKey("distance of the arm's wrist from the person's, scaled to the arm", "mm")
PERSON_ERRORS = quantile_keys("limb_error_deg", LIMB_ERROR) | quantile_keys(
    "wrist_error_mm", WRIST_ERROR
)
AXES = {
    "overall": "of the position",
    "x": "along x, forward",
    "y": "along y, to the left",
    "z": "along z, up",
}
TRACKING = ReportKey("RMS error of the joints against the desired motion, at all times", "rad")
LATENCY = ("p50", "p95", "p99")

TELEOP_KEYS = {
    **FOLLOWING_KEYS,
    "frames": ReportKey("images that the pose network processed"),
    "frames_lost": ReportKey("published images without a result; none for a foreign camera"),
    "detected": ReportKey("images in which a person was detected"),
    **PERSON_ERRORS,
    "limb_error_deg": LIMB_ERROR._replace(
        description=f"{LIMB_ERROR.description}, measured at the time of each image with a "
        "person, also while the arm holds or cannot reach"
    ),
    "wrist_error_mm": WRIST_ERROR._replace(
        description=f"{WRIST_ERROR.description}, measured likewise"
    ),
    "lag_ms": ReportKey(
        "delay of the measured hand behind the person's, by cross-correlation; none without "
        "enough motion",
        "ms",
    ),
    **{f"lag_ms.{axis}": ReportKey(text, "ms") for axis, text in AXES.items()},
    "lag_correlation": ReportKey("correlation at that delay; 1 is the same motion"),
    **{f"lag_correlation.{axis}": ReportKey(text) for axis, text in AXES.items()},
    "hand_calibration": ReportKey("what the gesture of calibrate:=true has shown", optional=True),
    "hand_calibration.arm_length_m": ReportKey(
        "length of the person's arm, shoulder to wrist", "m", optional=True
    ),
    "hand_calibration.neutral": ReportKey(
        "where the hand rested: forward, left and up from the shoulder, in lengths of the arm",
        optional=True,
    ),
    "grasps": ReportKey("blocks on the simulated table, with scene:=blocks", optional=True),
    "grasps.episodes": ReportKey("blocks that were placed or given up", optional=True),
    "grasps.lifted": ReportKey("blocks that were lifted by 40 mm", optional=True),
    "grasps.placed": ReportKey("blocks that were released at their goal", optional=True),
    "grasps.unfinished_lifted": ReportKey(
        "whether the block that the end of the run cut off had been lifted", optional=True
    ),
    **quantile_keys(
        "grasps.seconds_to_place", ReportKey("time from laying a block to its goal", "s", True)
    ),
    "after_lag": ReportKey("errors with the arm read one lag after each image; none without lag"),
    **below("after_lag", PERSON_ERRORS, optional=True),
    "tracking_rms_rad": TRACKING,
    "tracking_rms_rad.inverse_dynamics": ReportKey("measured in this run", "rad"),
    "tracking_rms_rad.inverse_dynamics_replay": ReportKey(
        "the same desired motion and model, replayed in simulation", "rad", optional=True
    ),
    "tracking_rms_rad.pd": ReportKey("replayed with plain feedback", "rad", optional=True),
    "tracking_rms_rad.rigid_body": ReportKey(
        "replayed with the rigid-body dynamics of the URDF", "rad", optional=True
    ),
    **quantile_keys("latency_ms", ReportKey("from image to command", "ms"), LATENCY),
    **quantile_keys(
        "core_latency_ms", ReportKey("the same without the pose network", "ms"), LATENCY
    ),
    "stages_ms": ReportKey("parts of the latency", "ms"),
    **quantile_keys("stages_ms.image_to_pose", ReportKey("image to pose network", "ms"), LATENCY),
    **quantile_keys("stages_ms.pose", ReportKey("pose network", "ms"), LATENCY),
    **quantile_keys(
        "stages_ms.pose_to_command", ReportKey("pose network to command", "ms"), LATENCY
    ),
    "restarts": ReportKey("restarts of the simulated time during the run"),
    "desired_state": ReportKey(
        "errors of the joint targets, not of the measured arm, against the filtered person, in "
        "the images in which the arm can follow",
        optional=True,
    ),
    **below("desired_state", PERSON_ERRORS, optional=True),
    "desired_state.including_rate_limited": ReportKey(
        "the same with the images in which the person is faster than the arm", optional=True
    ),
    **below("desired_state.including_rate_limited", PERSON_ERRORS, optional=True),
    "desired_state.reachable": ReportKey(
        "fraction of the images in which the arm can reach the person's pose", optional=True
    ),
    "desired_state.unreachable": ReportKey("other images by reason", optional=True),
    "desired_state.unreachable.*": ReportKey("images", optional=True),
}

SUCCESS = {
    "success_rate": ReportKey("successes divided by episodes"),
    "ci95": ReportKey("95% interval of the success rate; none without episodes"),
}
CAUSES = {
    "stopped": "a fault or the motion guard stopped the arm until the end",
    "not_detected": "the camera never detected the block",
    "missed_grasp": "the gripper closed beside the block or never held it",
    "slipped": "the block was held and lost",
    "misplaced": "the block was released off its goal",
    "timeout": "the time of the episode was over",
}

GRASP_KEYS = {
    **FOLLOWING_KEYS,
    "policy": ReportKey("policy that moved the gripper"),
    "noise": ReportKey("domain randomization level of the simulation"),
    "seed": ReportKey("seed of the run"),
    "block_pose_model": ReportKey("network that located blocks without markers", optional=True),
    "task": ReportKey("task with several blocks: sort or stack", optional=True),
    "blocks_at_goal": ReportKey(
        "blocks at their goals at the end of each episode of such a task; none on a real arm",
        optional=True,
    ),
    "episodes": ReportKey("complete episodes"),
    "judged_by": ReportKey(
        "what says where the block is: its true pose in simulation, the camera on a real arm"
    ),
    "successes": ReportKey(
        "episodes in which the block was released within 25 mm of the goal while the arm is static"
    ),
    **SUCCESS,
    "lifted": ReportKey(
        "episodes in which the block was lifted by 40 mm, alone no success; none on a real arm"
    ),
    "failed_episodes": ReportKey("numbers of the failed episodes, counted from 0"),
    "failures": ReportKey("failed episodes by cause; of a real arm by what the grasp node said"),
    **{f"failures.{name}": ReportKey(text, optional=True) for name, text in CAUSES.items()},
    "failures.*": ReportKey("failed episodes of a real arm with this reason", optional=True),
    "baseline_scripted": ReportKey(
        "the scripted policy in the same simulated episodes; none if it was not run"
    ),
    **below("baseline_scripted", SUCCESS, optional=True),
    **quantile_keys(
        "block_error_mm", ReportKey("distance of the detected from the true block centre", "mm")
    ),
    "tracking_rms_rad": TRACKING,
    "tracking_rms_rad.inverse_dynamics": ReportKey("measured in this run", "rad", optional=True),
    "seconds_per_episode": ReportKey("mean duration of an episode", "s"),
    "unfinished_episodes": ReportKey("episodes that the end of the run cut off"),
}

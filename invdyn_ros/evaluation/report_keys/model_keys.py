"""Keys of the reports of `invdyn evaluate` and `invdyn compare`."""

from __future__ import annotations

from invdyn_ros.evaluation.report_keys.report_key import ReportKey, below, quantile_keys

JOINTS = "one value per joint, in the order of joint_names; none where the target is constant"
INTERVAL = "95% interval of the mean, by bootstrap over trajectories or blocks of time"

METRIC = {"mean": "mean over the joints", "per_joint": JOINTS, "ci95": INTERVAL}

NMSE = ReportKey(
    "squared error divided by the variance of the target: 0 is perfect, 1 is as good as "
    "predicting the mean"
)
R2 = ReportKey("coefficient of determination, 1 - nmse; 1 is perfect")
RMSE = ReportKey("root mean square error", "action unit")


def metric_keys(path: str, key: ReportKey) -> dict[str, ReportKey]:
    """Return the keys of an error metric: mean, per joint, and interval."""
    return {path: key} | {
        f"{path}.{name}": key._replace(description=text) for name, text in METRIC.items()
    }


ERRORS = metric_keys("nmse", NMSE) | metric_keys("r2", R2) | metric_keys("rmse", RMSE)

DATA = {
    "robot": ReportKey("arm of the dataset"),
    "action_unit": ReportKey("unit of the actions: N m, N m without gravity, A or rad"),
    "target": ReportKey(
        "quantity whose error is measured: the action, or for position servos the offset u - q"
    ),
    "joint_names": ReportKey("names of the joints, in the order of all values per joint"),
    "split": ReportKey("held-out part of the dataset"),
    "split.group_by": ReportKey(
        "what was held out: trajectories, recordings or the last part in time; dataset: all of a "
        "dataset that the model was not trained on"
    ),
    "split.train_recordings": ReportKey(
        "names of the recordings trained on; empty where they have none or the data are absent"
    ),
    "split.test_recordings": ReportKey("names of the recordings tested on"),
    "split.train": ReportKey("training samples"),
    "split.test": ReportKey("test samples that the errors are computed from"),
    "split.duplicates": ReportKey(
        "test samples that are also training samples; none where the training data are absent"
    ),
}

CALIBRATION = {
    "uncertainty_calibration": ReportKey(
        "quality of the predicted standard deviations; none for a model without them"
    ),
    "uncertainty_calibration.within_1_std": ReportKey(
        "fraction of errors within one standard deviation; 0.683 if calibrated", optional=True
    ),
    "uncertainty_calibration.within_2_std": ReportKey(
        "fraction of errors within two standard deviations; 0.954 if calibrated", optional=True
    ),
    "uncertainty_calibration.nll": ReportKey(
        "mean negative log likelihood; lower is better", optional=True
    ),
    "uncertainty_calibration.crps": ReportKey(
        "mean continuous ranked probability score; lower is better", "action unit", optional=True
    ),
}

LATENCY = quantile_keys(
    "latency_us",
    ReportKey("duration of one prediction in PyTorch on one thread", "us"),
    ("p50", "p99"),
)
DELAY = ReportKey("delay between a command and its effect, which the model assumes", "s")

BASELINES = {
    "baselines": ReportKey(
        "errors of simple predictions on the same samples: zero; the mean of the training "
        "targets; hold_last, the previous measured action; rigid_body, the URDF; untrained, "
        "the network before training"
    )
}

IDENTIFICATION = {
    "identification": ReportKey(
        "parameters of the rigid body that were identified from torques; none for other models",
        optional=True,
    ),
    "identification.condition_number": ReportKey(
        "condition number of the regression of the base parameters, columns of unit length",
        optional=True,
    ),
    "identification.noise_std": ReportKey(
        "standard deviation of the errors of the fit, one value per joint", "action unit", True
    ),
    "identification.correlated_samples": ReportKey(
        "successive errors that count as a single one in the intervals, one value per joint",
        optional=True,
    ),
    "identification.base_parameters": ReportKey(
        "combinations of parameters that the torques depend on, in SI units", optional=True
    ),
    **below(
        "identification.base_parameters[]",
        {
            "name": ReportKey("joint and term of its first parameter"),
            "combination": ReportKey("the sum that it stands for"),
            "value": ReportKey("identified value"),
            "std": ReportKey("standard deviation; none: the data say nothing"),
            "ci95": ReportKey("95% interval"),
            "urdf": ReportKey("value of the URDF, which has no friction"),
            "identified": ReportKey(
                "whether the motion determines it: its standard deviation is less than the prior's"
            ),
        },
        optional=True,
    ),
    "identification.links": ReportKey(
        "links of the model; the data determine only combinations of their parameters",
        optional=True,
    ),
    **below(
        "identification.links[]",
        {
            "joint": ReportKey("joint that moves the link"),
            "mass": ReportKey("mass", "kg"),
            "center_of_mass": ReportKey("centre of mass in the link frame", "m"),
            "min_eigenvalue": ReportKey(
                "least eigenvalue of the pseudo-inertia; positive for a real body"
            ),
        },
        optional=True,
    ),
}

DRIVE_CHECK = {
    "drive_check": ReportKey(
        "whether the model may drive an arm, as checked after its training; none if it was not"
    ),
    "drive_check.unstable_states": ReportKey(
        "fraction of validation states in which the chosen feedback is unstable: an eigenvalue of "
        "the inverse inertia times the inertia that the feedback goes through has no positive "
        "real part; none for position servos",
        optional=True,
    ),
    "drive_check.unstable_through_model": ReportKey(
        "the same for feedback through the model, whose derivative of the action by the "
        "acceleration is that inertia",
        optional=True,
    ),
    "drive_check.least_eigenvalue": ReportKey(
        "least eigenvalue of that derivative, symmetrised, over the validation states; for "
        "torques an inertia",
        "kg m2",
        optional=True,
    ),
    "drive_check.rollout_rms": ReportKey(
        "RMS tracking error of short closed-loop rollouts on a rigid body that explains the data; "
        "none without a URDF",
        "rad",
        optional=True,
    ),
    "drive_check.rollout_rms_without_model": ReportKey(
        "the same with desired positions as setpoints, or feedback alone as torque; a model with "
        "a larger error is refused",
        "rad",
        optional=True,
    ),
    "drive_check.feedback": ReportKey(
        "where feedback is added, chosen by the rollouts: to the acceleration before the model, "
        "or through the inertia of the URDF to its torque",
        optional=True,
    ),
    "drive_check.reason": ReportKey(
        "why a live graph refuses the model unless unsafe is true; empty if it does not",
        optional=True,
    ),
}

EVALUATE_KEYS = {
    "family": ReportKey("model family"),
    **DATA,
    "action_conversion": ReportKey(
        "how the actions of the dataset were converted to those of the model, in words; none if "
        "they have the same unit",
        optional=True,
    ),
    "action_delay": DELAY,
    "effort_lag": ReportKey(
        "time constants of the low-pass filter between the torques of the model and the recorded "
        "effort, one per joint; none: not filtered",
        "s",
        optional=True,
    ),
    "gear_friction": ReportKey(
        "rise of dry friction towards standstill and with the load, and the velocity scale of the "
        "former, for each joint; none: not identified",
        "action unit, 1, rad/s",
        optional=True,
    ),
    "presliding": ReportKey(
        "displacement [rad] and torque, one pair per joint, of the friction that a joint at rest "
        "holds; none: not identified",
        "rad and action unit",
        optional=True,
    ),
    **IDENTIFICATION,
    "unit_warning": ReportKey(
        "what contradicts the stated unit of the training data, in words; none: nothing",
        optional=True,
    ),
    **ERRORS,
    "moving": ReportKey(
        "errors of the samples in which a joint moves; none for models of video. The torque of "
        "a sticking joint cannot be computed from its motion"
    ),
    "moving.min_velocity": ReportKey("velocity from which a joint moves", "rad/s", optional=True),
    "moving.fraction": ReportKey("fraction of samples in which a joint moves", optional=True),
    "moving.nmse": NMSE._replace(optional=True),
    "moving.nmse.mean": ReportKey(METRIC["mean"], optional=True),
    "moving.nmse.per_joint": ReportKey(METRIC["per_joint"], optional=True),
    "standing": ReportKey(
        "errors of the samples in which a joint stands; none for models of video", optional=True
    ),
    "standing.min_velocity": ReportKey("velocity below which a joint stands", "rad/s", True),
    "standing.fraction": ReportKey("fraction of samples in which a joint stands", optional=True),
    "standing.nmse": NMSE._replace(optional=True),
    "standing.nmse.mean": ReportKey(METRIC["mean"], optional=True),
    "standing.nmse.per_joint": ReportKey(METRIC["per_joint"], optional=True),
    **BASELINES,
    "baselines.*": ReportKey("errors of one baseline"),
    **below("baselines.*", ERRORS),
    **CALIBRATION,
    **DRIVE_CHECK,
    **LATENCY,
    "seconds": ReportKey("duration of the evaluation", "s"),
}

VALIDATION = metric_keys("val", ReportKey(f"on the validation split: {NMSE.description}"))
TRACKING_RMS = ReportKey(
    "RMS tracking error in closed-loop simulation; none if it was not simulated", "rad"
)

COMPARE_KEYS = {
    "data": ReportKey("dataset folder"),
    **DATA,
    "val_samples": ReportKey("validation samples, by which seeds and families are chosen"),
    "tracking_task": ReportKey("simulated motion that each model drives; none: not simulated"),
    "tracking_task.seconds": ReportKey("duration of the motion", "s", optional=True),
    "tracking_task.payload_kg": ReportKey("mass at the tool", "kg", optional=True),
    "tracking_task.feedback": ReportKey(
        "feedback beside the model: that of the live node", optional=True
    ),
    **BASELINES,
    "baselines.*": ReportKey("errors of one baseline on the test split"),
    **below("baselines.*", VALIDATION | ERRORS),
    "baselines.*.tracking_rms_rad": TRACKING_RMS,
    "families": ReportKey("each family: its seed with the lowest validation error"),
    "families.*": ReportKey("errors of one family on the test split"),
    "families.*.checkpoint": ReportKey("checkpoint folder of that seed"),
    **below("families.*", VALIDATION | metric_keys("nmse", NMSE) | metric_keys("rmse", RMSE)),
    **below("families.*", CALIBRATION | LATENCY | DRIVE_CHECK),
    "families.*.action_delay": DELAY,
    "families.*.tracking_rms_rad": TRACKING_RMS,
    "families.*.seeds": ReportKey("all training runs of the family"),
    "families.*.seeds[].checkpoint": ReportKey("checkpoint folder"),
    "families.*.seeds[].val": ReportKey("mean nMSE on the validation split"),
    "families.*.seeds[].test": ReportKey("mean nMSE on the test split"),
    "families.*.seeds[].train_seconds": ReportKey(
        "duration of the training; none if the checkpoint was there already", "s"
    ),
    "best": ReportKey(
        "the simplest family within the 95% interval of the most accurate one that may drive"
    ),
    "best.family": ReportKey("its name"),
    "best.checkpoint": ReportKey("its checkpoint folder"),
    "best.reason": ReportKey("why it was chosen, in words"),
}

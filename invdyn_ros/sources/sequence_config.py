"""Options of a reader of sequences: columns of motion and action, and their units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from invdyn_ros.data.resampling import AUTO, OFF, Resampling

ActionUnit = Literal["N m", "N m without gravity", "A", "rad", "1"]


@dataclass(frozen=True)
class SequenceConfig:
    """Columns of motion and action, and their units.

    A column is NAME, NAME:A:B (columns A to B-1 of NAME), A:B (of the observations), or several of
    these separated by commas. 'q_*' is q_1, q_2 and so on.
    """

    position: str = ""
    """Column of the joint positions; without it, a message lists the columns of the file."""
    unit: ActionUnit | None = None
    """Unit of the actions; 1: without unit, such as a fraction of the range. Default: that in the
    header of a CSV file, such as tau_1 [Nm]."""
    velocity: str | None = None
    """Column of the joint velocities."""
    action: str = "actions"
    """Column of the actions, one per joint."""
    negate_action: bool = False
    """Turn the sign of the actions, where they are the torques of the load."""
    observations: str = "observations"
    """Column of the observations."""
    position_unit: Literal["rad", "deg"] | None = None
    """Unit of positions, velocities (per second) and setpoints; default: that in the header, as in
    q_1 [deg], or rad."""
    rate: float | None = None
    """[Hz] Rows per second, if there are no stamps."""
    time: str | None = None
    """Column of stamps; default: the one that is named so, such as time, timestamp or t."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the stamps; default: that in the header, or the one of a usual rate."""
    episode: str | None = None
    """Column that changes from episode to episode; default: the one that is named so, such as
    episode or trial. Flags such as terminals, and episode_ends, are used too."""
    resample: Resampling = "auto"
    """HZ: resample at this rate; auto: at that of the recording where its stamps are not evenly
    spaced and accelerations are filtered; off: keep the stamps, without these accelerations, for
    time-series models."""
    max_gap: float | None = None
    """[s] A longer gap between stamps ends an episode; default: gaps only do where the episode is
    resampled, from 0.1 s or 5 intervals on."""
    acceleration: Literal["step", "filter", "none"] | None = None
    """step: (qd' - qd)/dt; filter: zero-phase Savitzky-Golay filter; none: left to training.
    Default: step with velocities, else filter; filter after --resample HZ."""
    window: int = 13
    """Samples per Savitzky-Golay window."""
    skip_invalid: bool = False
    """Leave out (and count) rows that are not finite and too short episodes, which are errors
    otherwise."""

    def __post_init__(self) -> None:
        """Check that rows have one kind of time, and velocities if needed."""
        if self.rate is not None and self.time is not None:
            raise ValueError(
                "give --rate HZ, or --time COLUMN where the file has stamps, not both"
            )
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate is {self.rate} Hz; it must be positive")
        if self.acceleration == "step" and self.velocity is None:
            raise ValueError("(qd' - qd)/dt needs --velocity; or give --acceleration filter")
        if self.acceleration == "step" and self.is_resampled:
            raise ValueError("(qd' - qd)/dt is of recorded rows; give --acceleration filter")

    @property
    def derivative(self) -> str:
        """How accelerations are computed."""
        is_step = self.velocity is not None and not self.is_resampled
        return self.acceleration or ("step" if is_step else "filter")

    @property
    def is_resampled(self) -> bool:
        """Whether a rate is requested, at which all episodes are resampled."""
        return self.resample not in (AUTO, OFF)

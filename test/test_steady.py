"""What moved before and after an interval has a say in what moved in it."""

from __future__ import annotations

import pytest
import torch
from synthetic_videos import film
from test_video_models import OF_VIDEO, make, seen

from invdyn_ros.data.windows import whole_trajectories
from invdyn_ros.models import InverseDynamics

KNOWN = [film(k, 20) for k in range(3)]


def calibrated(family: str, frames: int = 20) -> InverseDynamics:
    model = make(family)
    model.calibrate(whole_trajectories([t[:frames] for t in KNOWN], 0.0, model.dtype, "pixels"))
    return model


def error(model: InverseDynamics, rows: slice) -> torch.Tensor:
    """Return the mean squared error of each joint in some rows of all recordings."""
    errors = [
        (model.predict(motion, time).mean - action)[:, rows].square().mean((0, 1))
        for motion, time, action in whole_trajectories(KNOWN, 0.0, model.dtype, "pixels")
    ]
    return torch.stack(errors).mean(0)


@pytest.mark.parametrize("family", OF_VIDEO)
def test_recordings_that_fit_the_weights_are_told_better_with_them(family: str) -> None:
    alone, both = make(family), calibrated(family)
    inside = slice(2, -1)
    assert (error(both, inside) < error(alone, inside)).all()


@pytest.mark.parametrize("family", OF_VIDEO)
def test_an_action_looks_at_one_interval_on_each_side(family: str) -> None:
    model, (pixels, time) = calibrated(family), seen()
    other = pixels.clone()
    other[:, 4, :-1] = 255 - other[:, 4, :-1]
    before, after = model.predict(pixels, time).mean, model.predict(other, time).mean
    changed = (before != after).any(-1)[0].tolist()
    assert changed == [k in (3, 4, 5, 6) for k in range(8)]
    live = model.predict(pixels[:, 1:4], time[:, 1:4]).mean[:, -1]  # nothing is known after it
    torch.testing.assert_close(live, model.predict(pixels[:, :4], time[:, :4]).mean[:, -1])


def test_a_recording_run_backwards_has_opposite_actions() -> None:
    model, (pixels, time) = calibrated("keypoints"), seen()
    assert model.get_buffer("smoothing_weights")[..., [0, 2]].any()
    forth, back = (model.predict(x, time).mean[:, 1:] for x in (pixels, pixels.flip(1)))
    torch.testing.assert_close(back, -forth.flip(1), rtol=1e-4, atol=1e-6)


def test_recordings_too_short_for_neighbours_leave_each_interval_alone() -> None:
    for family in OF_VIDEO:
        steady = calibrated(family, frames=3).get_buffer("smoothing_weights")
        assert torch.equal(steady, make(family).get_buffer("smoothing_weights"))

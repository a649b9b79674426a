"""Clips of persons for the benchmark: what they show, and who may be followed in them."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.benchmarks.person_clips import ANYWHERE, CLIPS, NOWHERE, PersonClip
from invdyn_ros.benchmarks.persons import PersonsBenchmarkConfig

RATE = 10.0


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_has_an_image_and_a_place_of_the_operator_for_each_recorded_image(name):
    rng = np.random.default_rng(0)
    recorded = [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(90)]
    clip = CLIPS[name](recorded, RATE)
    assert len(clip.images) == len(clip.operators) == len(recorded)
    assert all(image.dtype == np.uint8 and image.flags.c_contiguous for image in clip.images)
    assert {image.shape for image in clip.images} == {clip.images[0].shape}


def test_whoever_is_followed_where_the_operator_is_not_is_a_phantom():
    clip = PersonClip([], [ANYWHERE, (-np.inf, 0.5), NOWHERE, NOWHERE])
    assert clip.phantoms([0.7, 0.7, 0.2, np.nan]) == 2
    two = PersonClip([], [ANYWHERE] * 4, middle=0.5)
    assert two.phantoms([np.nan, 0.8, 0.7, 0.2]) == 1 and two.phantoms([0.2, 0.3, 0.1, 0.2]) == 0


def test_unknown_clip_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"clips are \['asleep'\]; known are as recorded"):
        PersonsBenchmarkConfig(video=tmp_path, clips=("asleep",))

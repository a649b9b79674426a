from __future__ import annotations

from pathlib import Path

import pytest
import torch
from swings import JOINTS, RATE, swing

from invdyn_ros.cli import run_verb
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.models.timeseries.bridge import Bridge, parabola_change
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    check_observations,
    insert_intermediate_times,
    split_into_motions,
    subsample,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.registry import (
    TIME_SERIES_MODELS,
    build_time_series_model,
    load_time_series_model,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import load_body
from invdyn_ros.training.train_time_series import parse_time_series_config, train_time_series


def learned() -> Motions:
    return split_into_motions([swing(k) for k in range(40)], 60)


TREE = {
    "x_joint": "one",
    "z_joint": "two",
    "hinges": ["three"],
    "parents": [-1],
    "axis_signs": [1],
}
OWN = {"identified_body": TREE}  # fields without which a family cannot be


def make(family: str) -> TimeSeriesModel:
    """A model that knows the scale of some data; its weights are not trained."""
    torch.manual_seed(0)
    model = build_time_series_model(
        TimeSeriesMetadata(family, "springs", JOINTS, RATE, OWN.get(family, {}))
    ).eval()
    model.standardise(learned())
    return model


def record(count: int = 3, share: float = 0.2) -> Observations:
    part = learned()
    return subsample(part.state[:count], part.time[:count], share, 0)


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_what_is_seen_comes_back_and_what_is_not_is_never_read(family: str) -> None:
    model, known = make(family), record()
    found = model.predict(known)
    assert torch.equal(found[known.mask], known.state[known.mask])
    blind = torch.where(known.mask[..., None], known.state, torch.nan)
    assert torch.equal(model.predict(known._replace(state=blind)), found)
    assert found.isfinite().all()


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_when_it_was_does_not_matter(family: str) -> None:
    model, known = make(family), record()
    later = known._replace(time=known.time + 4096)
    torch.testing.assert_close(model.predict(later), model.predict(known), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_a_motion_is_said_the_same_alone_and_among_others(family: str) -> None:
    model, known = make(family), record()
    many = torch.cat([known.mask[:1], known.mask[1:] & (torch.rand(2, 60) < 0.5)])
    many[1:, 30] = True
    known = known._replace(mask=many)
    alone = torch.cat(
        [model.predict(Observations(*(x[k : k + 1] for x in known))) for k in range(3)]
    )
    torch.testing.assert_close(model.predict(known), alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["gru_dt", "latent_ode", "ode_rnn", "rnn_vae"])
def test_what_others_see_does_not_matter_to_one_who_saw_little(family: str) -> None:
    torch.manual_seed(0)
    model = build_time_series_model(TimeSeriesMetadata(family, "springs", JOINTS, RATE)).eval()
    for name, values in model.named_parameters():
        if "decoder" not in name:  # so that what stands in padding would show
            values.data *= 2
    known = record()
    known.mask[0] = torch.arange(60) == 0
    alone = model.predict(Observations(*(x[:1] for x in known)))
    torch.testing.assert_close(model.predict(known)[:1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_one_observation_and_times_of_any_distance_have_an_answer(family: str) -> None:
    model = make(family)
    time = torch.tensor([[0.0, 0.013, 0.5, 0.51, 7.0]], dtype=torch.float64)
    for row in range(5):
        seen = torch.arange(5)[None] == row
        found = model.predict(Observations(torch.ones(1, 5, 6), time, seen))
        assert found.shape == (1, 5, 6)
        assert found.isfinite().all()
        assert torch.equal(found[0, row], torch.ones(6))


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_bad_records_are_named(family: str) -> None:
    model, known = make(family), record()
    swapped = known.time.clone()
    swapped[1, 4] = swapped[1, 3]
    wrong: list[tuple[Observations, str]] = [
        (known._replace(time=swapped), "motion 1, row 3 has 0.06 s and the next 0.06 s"),
        (known._replace(time=known.time.flip(1)), "times must increase"),
        (known._replace(time=known.time + torch.nan), "times must increase"),
        (known._replace(mask=torch.zeros_like(known.mask)), "motion 0 has no observation"),
        (known._replace(state=known.state + torch.inf), "states must be finite"),
        (known._replace(state=known.state[..., :2]), r"expected \(B, T, 6\)"),
    ]
    for one, message in wrong:
        with pytest.raises(ValueError, match=message):
            model.predict(one)


def test_an_ode_rnn_knows_nothing_that_is_seen_later() -> None:
    model, known = make("ode_rnn"), record()
    last = known.mask[:, :40].any(1)
    assert last.all()
    later = known._replace(state=torch.cat([known.state[:, :40], known.state[:, 40:] + 1], 1))
    found, other = model.predict(known), model.predict(later)
    torch.testing.assert_close(found[:, :40], other[:, :40])
    assert not torch.equal(found[:, 40:], other[:, 40:])


def test_neighbours_are_the_observations_around_a_row() -> None:
    seen = torch.tensor([[False, True, False, False, True, False]])
    before, after = surrounding_observations(seen)
    assert before.tolist() == [[-1, 1, 1, 1, 4, 4]]
    assert after.tolist() == [[1, 1, 4, 4, 4, 6]]


@pytest.mark.parametrize("name", INTERPOLATORS)
def test_curves_go_through_what_is_seen(name: str) -> None:
    known = record()
    found = interpolate(INTERPOLATORS[name], known)
    torch.testing.assert_close(found[known.mask], known.state[known.mask])


def test_a_hermite_curve_is_exact_for_a_cubic_between_observations() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    state = torch.stack([t**3 - t, 3 * t**2 - 1], 1)[None]
    known = Observations(state, t[None], (torch.arange(11) % 5 == 0)[None])
    torch.testing.assert_close(
        interpolate(INTERPOLATORS["hermite"], known)[..., :1], state[..., :1]
    )


def test_a_sample_between_two_observations_is_exact_before_anything_is_learned() -> None:
    part = learned()
    seen = (torch.arange(60) % 2 == 0).expand(40, -1).clone()
    seen[:, -1] = True
    found = make("bridge").predict(Observations(part.state, part.time, seen))
    torch.testing.assert_close(found, part.state, rtol=0, atol=2e-4)


def test_how_positions_follow_velocities_is_read_off_the_data() -> None:
    model = make("bridge")
    assert isinstance(model, Bridge)
    assert float(model.forward_net.old_velocity_weight) == pytest.approx(0, abs=1e-4)
    time = torch.arange(50, dtype=torch.float64) / RATE
    q, v = (time.sin(), time.cos(), -time.cos()), (time.cos(), -time.sin(), time.sin())
    smooth = torch.stack([*q, *v], 1).float()
    model.standardise(Motions(smooth.expand(5, -1, -1), time.expand(5, -1)))
    assert float(model.forward_net.old_velocity_weight) == pytest.approx(0.5, abs=0.02)


def test_an_aim_keeps_the_mean_of_the_velocities_between() -> None:
    v, end, mean = torch.tensor([[1.0]]), torch.tensor([[-2.0]]), torch.tensor([[3.0]])
    for steps in (2, 3, 9):
        walked, total = v, 0.0
        for left in range(steps, 1, -1):
            rest = (mean * (steps - 1) - total) / (left - 1)
            walked = walked + parabola_change(walked, end, rest, torch.tensor([[float(left)]]))
            total = total + walked
        torch.testing.assert_close(total / (steps - 1), mean)


def test_rows_are_put_between_rows_that_are_far_apart() -> None:
    time = torch.tensor([[0.0, 0.02, 0.1, 0.11], [0.0, 0.01, 0.02, 0.03]], dtype=torch.float64)
    state = torch.arange(32.0).reshape(2, 4, 4)
    fine, rows = insert_intermediate_times(
        Observations(state, time, torch.ones(2, 4, dtype=torch.bool)), 0.02
    )
    each = torch.arange(2)[:, None]
    torch.testing.assert_close(fine.time[each, rows], time)
    assert torch.equal(fine.state[each, rows], state)
    assert fine.time.diff(dim=1).min() > 0
    assert fine.time[0].diff().max() <= 0.02 + 1e-9
    assert fine.mask.sum() == 8
    check_observations(fine, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "data"
    write_dataset(folder, [swing(k) for k in range(200)], "springs", RATE)
    return folder


def error(model: TimeSeriesModel | str, data: Path) -> float:
    part = split_into_motions(read_dataset(data).trajectories[160:], 60)
    known = subsample(part.state, part.time, 0.1, 1)
    found = (
        interpolate(INTERPOLATORS[model], known)
        if isinstance(model, str)
        else model.predict(known)
    )
    return float(((found - part.state) / torch.tensor([1.0, 1, 1, 6, 6, 6])).square().mean())


FIELDS = {
    "bridge": {"width": 64, "depth": 2, "samples_per_motion": 16, "epochs": 30, "batch_size": 16},
    "gru_dt": {
        "width": 64,
        "epochs": 120,
        "batch_size": 32,
        "sequence_length": 60,
        "learning_rate": 5e-3,
    },
    "one_step": {"width": 64, "epochs": 60, "batch_size": 16, "learning_rate": 3e-3},
}


@pytest.mark.parametrize("family", FIELDS)
def test_a_path_model_learns_how_springs_swing(family: str, data: Path, tmp_path: Path) -> None:
    fields = {"family": family, "length": 60} | FIELDS[family]
    model = train_time_series(parse_time_series_config(fields, ""), data, tmp_path / "out")
    untrained = build_time_series_model(model.meta).eval()
    untrained.standardise(learned())
    bar = {"bridge": 0.3}.get(family, 1.0)
    assert error(model, data) < bar * min(error("hermite", data), error(untrained, data))
    loaded = load_time_series_model(tmp_path / "out")
    assert torch.equal(loaded.predict(record()), model.predict(record()))


def test_a_run_that_stopped_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    fields = {"family": "bridge", "length": 60, "width": 16, "epochs": 4, "batch_size": 64}
    whole = train_time_series(parse_time_series_config(fields, ""), data, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(progress: object) -> None:
        if getattr(progress, "epoch", 0) == 2:
            raise Stop

    with pytest.raises(Stop):
        train_time_series(
            parse_time_series_config(fields, ""), data, tmp_path / "half", on_epoch=stop
        )
    again = train_time_series(
        parse_time_series_config(fields, ""), data, tmp_path / "half", resume=True
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("file", sorted(package_file("config/timeseries").glob("*.yaml")), ids=str)
def test_every_config_that_is_shipped_fits_its_family(file: Path) -> None:
    assert file.stem.endswith(parse_time_series_config(load_yaml(file), str(file)).family)


def test_wrong_fields_bodies_and_data_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        ({"family": "spline"}, "family is 'spline'; known are bridge, gru_dt"),
        ({"family": "bridge", "speed": 1}, "unknown field 'speed'; bridge has family"),
        (
            {"family": "bridge", "length": 60, "invariant_joints": ["hip"]},
            "no joint 'hip'; springs has one, two, three",
        ),
        ({"family": "bridge", "length": 61}, "no trajectory has 61 samples; the longest has 60"),
        ({"family": "latent_ode", "observed_fractions": [0.0]}, "observed_fractions"),
    ]
    for fields, message in wrong:
        with pytest.raises(ValueError, match=message):
            train_time_series(parse_time_series_config(fields, "file"), data, tmp_path / "out")
    with pytest.raises(ValueError, match="no body 'dog'; known are hopper, walker"):
        load_body("dog")
    assert run_verb("benchmark", ["time_series", "--data", str(tmp_path)]) != 0
    assert "is not a dataset" in capsys.readouterr().err

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spring_motions import JOINTS, RATE, spring_motion

from invdyn_ros.cli import run_verb
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.models.timeseries.bridge import Bridge
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
from invdyn_ros.models.timeseries.step_network import parabola_change
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import load_body
from invdyn_ros.training.train_time_series import parse_time_series_config, train_time_series


def spring_motions_data() -> Motions:
    return split_into_motions([spring_motion(k) for k in range(40)], 60)


TREE = {
    "x_joint": "one",
    "z_joint": "two",
    "hinges": ["three"],
    "parents": [-1],
    "axis_signs": [1],
}
REQUIRED_FIELDS = {"identified_body": TREE}  # fields of a family without defaults


def make(family: str) -> TimeSeriesModel:
    """Return an untrained model with the scales of the data."""
    torch.manual_seed(0)
    model = build_time_series_model(
        TimeSeriesMetadata(family, "springs", JOINTS, RATE, REQUIRED_FIELDS.get(family, {}))
    ).eval()
    model.standardise(spring_motions_data())
    return model


def example_observations(count: int = 3, fraction: float = 0.2) -> Observations:
    motions = spring_motions_data()
    return subsample(motions.state[:count], motions.time[:count], fraction, 0)


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_observed_states_are_returned_and_others_never_used(family: str) -> None:
    model, observations = make(family), example_observations()
    predicted = model.predict(observations)
    assert torch.equal(predicted[observations.mask], observations.state[observations.mask])
    hidden = torch.where(observations.mask[..., None], observations.state, torch.nan)
    assert torch.equal(model.predict(observations._replace(state=hidden)), predicted)
    assert predicted.isfinite().all()


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_predictions_are_invariant_to_a_time_offset(family: str) -> None:
    model, observations = make(family), example_observations()
    later = observations._replace(time=observations.time + 4096)
    torch.testing.assert_close(
        model.predict(later), model.predict(observations), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_predictions_do_not_depend_on_the_batch(family: str) -> None:
    model, observations = make(family), example_observations()
    many = torch.cat([observations.mask[:1], observations.mask[1:] & (torch.rand(2, 60) < 0.5)])
    many[1:, 30] = True
    observations = observations._replace(mask=many)
    single = torch.cat(
        [model.predict(Observations(*(x[k : k + 1] for x in observations))) for k in range(3)]
    )
    torch.testing.assert_close(model.predict(observations), single, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["gru_dt", "latent_ode", "ode_rnn", "rnn_vae"])
def test_padding_does_not_affect_predictions(family: str) -> None:
    torch.manual_seed(0)
    model = build_time_series_model(TimeSeriesMetadata(family, "springs", JOINTS, RATE)).eval()
    for name, values in model.named_parameters():
        if "decoder" not in name:  # so that an effect of the padding is visible
            values.data *= 2
    observations = example_observations()
    observations.mask[0] = torch.arange(60) == 0
    single = model.predict(Observations(*(x[:1] for x in observations)))
    torch.testing.assert_close(model.predict(observations)[:1], single, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_single_observations_and_irregular_times_are_accepted(family: str) -> None:
    model = make(family)
    time = torch.tensor([[0.0, 0.013, 0.5, 0.51, 2.0]], dtype=torch.float64)
    for row in range(5):
        mask = torch.arange(5)[None] == row
        predicted = model.predict(Observations(torch.ones(1, 5, 6), time, mask))
        assert predicted.shape == (1, 5, 6)
        assert predicted.isfinite().all()
        assert torch.equal(predicted[0, row], torch.ones(6))


@pytest.mark.parametrize("family", TIME_SERIES_MODELS)
def test_bad_observations_are_refused(family: str) -> None:
    model, observations = make(family), example_observations()
    swapped = observations.time.clone()
    swapped[1, 4] = swapped[1, 3]
    wrong: list[tuple[Observations, str]] = [
        (observations._replace(time=swapped), "motion 1, row 3 has 0.06 s and the next 0.06 s"),
        (observations._replace(time=observations.time.flip(1)), "times must increase"),
        (observations._replace(time=observations.time + torch.nan), "times must increase"),
        (
            observations._replace(mask=torch.zeros_like(observations.mask)),
            "motion 0 has no observation",
        ),
        (observations._replace(state=observations.state + torch.inf), "states must be finite"),
        (observations._replace(state=observations.state[..., :2]), r"expected \(B, T, 6\)"),
    ]
    for one, message in wrong:
        with pytest.raises(ValueError, match=message):
            model.predict(one)


def test_ode_rnn_is_causal() -> None:
    model, observations = make("ode_rnn"), example_observations()
    last = observations.mask[:, :40].any(1)
    assert last.all()
    later = observations._replace(
        state=torch.cat([observations.state[:, :40], observations.state[:, 40:] + 1], 1)
    )
    predicted, other = model.predict(observations), model.predict(later)
    torch.testing.assert_close(predicted[:, :40], other[:, :40])
    assert not torch.equal(predicted[:, 40:], other[:, 40:])


def test_surrounding_observations_are_the_nearest_before_and_after() -> None:
    mask = torch.tensor([[False, True, False, False, True, False]])
    before, after = surrounding_observations(mask)
    assert before.tolist() == [[-1, 1, 1, 1, 4, 4]]
    assert after.tolist() == [[1, 1, 4, 4, 4, 6]]


@pytest.mark.parametrize("name", INTERPOLATORS)
def test_interpolators_pass_through_observations(name: str) -> None:
    observations = example_observations()
    predicted = interpolate(INTERPOLATORS[name], observations)
    torch.testing.assert_close(predicted[observations.mask], observations.state[observations.mask])


def test_hermite_is_exact_for_cubics() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    state = torch.stack([t**3 - t, 3 * t**2 - 1], 1)[None]
    observations = Observations(state, t[None], (torch.arange(11) % 5 == 0)[None])
    torch.testing.assert_close(
        interpolate(INTERPOLATORS["hermite"], observations)[..., :1], state[..., :1]
    )


def test_untrained_bridge_is_exact_for_one_missing_sample() -> None:
    motions = spring_motions_data()
    mask = (torch.arange(60) % 2 == 0).expand(40, -1).clone()
    mask[:, -1] = True
    predicted = make("bridge").predict(Observations(motions.state, motions.time, mask))
    torch.testing.assert_close(predicted, motions.state, rtol=0, atol=2e-4)


def test_weight_of_the_previous_velocity_is_estimated_from_data() -> None:
    model = make("bridge")
    assert isinstance(model, Bridge)
    assert float(model.forward_net.old_velocity_weight) == pytest.approx(0, abs=1e-4)
    time = torch.arange(50, dtype=torch.float64) / RATE
    q, v = (time.sin(), time.cos(), -time.cos()), (time.cos(), -time.sin(), time.sin())
    smooth = torch.stack([*q, *v], 1).float()
    model.standardise(Motions(smooth.expand(5, -1, -1), time.expand(5, -1)))
    assert float(model.forward_net.old_velocity_weight) == pytest.approx(0.5, abs=0.02)


def test_parabola_keeps_the_mean_velocity() -> None:
    v, end, mean = torch.tensor([[1.0]]), torch.tensor([[-2.0]]), torch.tensor([[3.0]])
    for steps in (2, 3, 9):
        velocity, total = v, 0.0
        for left in range(steps, 1, -1):
            remaining_mean = (mean * (steps - 1) - total) / (left - 1)
            velocity = velocity + parabola_change(
                velocity, end, remaining_mean, torch.tensor([[float(left)]])
            )
            total = total + velocity
        torch.testing.assert_close(total / (steps - 1), mean)


def test_intermediate_times_are_inserted() -> None:
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
    write_dataset(folder, [spring_motion(k) for k in range(200)], "springs", RATE)
    return folder


def error(model: TimeSeriesModel | str, data: Path) -> float:
    motions = split_into_motions(read_dataset(data).trajectories[160:], 60)
    observations = subsample(motions.state, motions.time, 0.1, 1)
    predicted = (
        interpolate(INTERPOLATORS[model], observations)
        if isinstance(model, str)
        else model.predict(observations)
    )
    return float(
        ((predicted - motions.state) / torch.tensor([1.0, 1, 1, 6, 6, 6])).square().mean()
    )


FIELDS = {
    "bridge": {"width": 64, "depth": 2, "samples_per_motion": 16, "epochs": 30, "batch_size": 16},
    "gru_dt": {
        "width": 64,
        "epochs": 60,
        "batch_size": 32,
        "sequence_length": 60,
        "learning_rate": 1e-2,
    },
    "one_step": {"width": 64, "epochs": 30, "batch_size": 16, "learning_rate": 6e-3},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FIELDS)
def test_training_improves_predictions(family: str, data: Path, tmp_path: Path) -> None:
    fields = {"family": family, "motion_length": 60} | FIELDS[family]
    model = train_time_series(parse_time_series_config(fields, ""), data, tmp_path / "out")
    untrained = build_time_series_model(model.meta).eval()
    untrained.standardise(spring_motions_data())
    bar = {"bridge": 0.3}.get(family, 1.0)
    assert error(model, data) < bar * min(error("hermite", data), error(untrained, data))
    loaded = load_time_series_model(tmp_path / "out")
    assert torch.equal(
        loaded.predict(example_observations()), model.predict(example_observations())
    )
    assert 0 < loaded.meta.data["validation"]["nmse"] < 1


def test_resumed_training_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    fields = {"family": "bridge", "motion_length": 60, "width": 16, "epochs": 4, "batch_size": 64}
    uninterrupted = train_time_series(
        parse_time_series_config(fields, ""), data, tmp_path / "uninterrupted"
    )

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
    for name, value in uninterrupted.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("file", sorted(package_file("config/timeseries").glob("*.yaml")), ids=str)
def test_shipped_configs_are_valid(file: Path) -> None:
    assert file.stem.endswith(parse_time_series_config(load_yaml(file), str(file)).family)


def test_wrong_fields_bodies_and_data_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        ({"family": "spline"}, "family is 'spline'; known are bridge, gru_dt"),
        ({"family": "bridge", "speed": 1}, "unknown field 'speed'; bridge has family"),
        (
            {"family": "bridge", "motion_length": 60, "invariant_joints": ["hip"]},
            "no joint 'hip'; springs has one, two, three",
        ),
        (
            {"family": "bridge", "motion_length": 61},
            "no trajectory has 61 samples; the longest has 60",
        ),
        ({"family": "latent_ode", "observed_fractions": [0.0]}, "observed_fractions"),
    ]
    for fields, message in wrong:
        with pytest.raises(ValueError, match=message):
            train_time_series(parse_time_series_config(fields, "file"), data, tmp_path / "out")
    with pytest.raises(ValueError, match="no body 'dog'; known are hopper, walker"):
        load_body("dog")
    assert run_verb("benchmark", ["time_series", "--data", str(tmp_path)]) != 0
    assert "is not a dataset" in capsys.readouterr().err

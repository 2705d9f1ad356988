"""How a budget of time is divided, and what is told of the phases before they begin."""

import time
from pathlib import Path

import pytest

from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.deadline import UNBOUNDED, Deadline
from featurehub.runs.phases import BASELINE, EVALUATE, LABEL, Forecast, PhasePlan, duration, forecast_of, say_phases
from featurehub.runs.speeds import Speeds
from labeling.calibration import CalibrationConfig
from saes.budget import Budget
from saes.documents import Document
from tests.runs.recording import Recording

SPEEDS = Speeds(start=5.0, read=1000.0, answer=400.0, steered=300.0)
HELD_OUT = [Document([1] * 100, 20)] * 2000
LATENTS = 2304
FORECAST = Forecast(speeds=SPEEDS, evaluate=2500.0, baseline=BaselineConfig())


def test_what_comes_after_training_takes_its_tokens_by_their_speed() -> None:
    phases = {p.name: p for p in FORECAST.phases(HELD_OUT, 1, LATENTS)}
    assert (phases[EVALUATE].amount, phases[EVALUATE].seconds) == (200_000, 80.0)
    answered = 480 * 96
    assert phases[BASELINE].amount == 48_000 + answered
    assert phases[BASELINE].seconds == pytest.approx((2 * 48_000 + answered) / 1000 + answered / 400)
    assert (phases[LABEL].amount, phases[LABEL].unit) == (LATENTS, "latents")
    assert LABEL not in {p.name for p in FORECAST.phases(HELD_OUT, 3, 0)}


@pytest.mark.parametrize(("seconds", "whole"), [(float("inf"), True), (3600.0, True), (600.0, False)])
def test_where_the_time_is_short_fewer_documents_are_evaluated(seconds: float, whole: bool) -> None:
    forecast = forecast_of(SPEEDS, 2500.0, BaselineConfig(), HELD_OUT, 1, LATENTS, seconds)
    assert (forecast.baseline == BaselineConfig()) is whole
    if not whole:
        assert sum(p.seconds for p in forecast.phases(HELD_OUT, 1, LATENTS)) <= 0.26 * seconds
        assert forecast.baseline.documents >= 150


def test_calibration_has_a_fifth_of_the_time_and_without_a_bound_as_much_as_training() -> None:
    config = CalibrationConfig()
    needed = config.tokens_of_all(LATENTS) / SPEEDS.steered
    for deadline, patient, training, seconds in (
        (Deadline.of(Budget(seconds=1200)), False, 99.0, 240.0),
        (Deadline.of(Budget(seconds=1e6)), False, 99.0, needed),
        (UNBOUNDED, False, 300.0, 300.0),
        (UNBOUNDED, False, 1.0, 60.0),
        (UNBOUNDED, True, 1.0, needed),
    ):
        [phase] = PhasePlan([], deadline, config, LATENTS, SPEEDS.steered, patient).after(training)
        assert phase.seconds == pytest.approx(seconds)
        assert phase.amount == pytest.approx(seconds * SPEEDS.steered, rel=0.01)
    assert PhasePlan([], UNBOUNDED).after(9.0) == []


def test_calibration_has_a_last_share_even_if_the_time_is_over() -> None:
    over = Deadline(time.monotonic() - 1000, 600.0)
    assert PhasePlan([], over).calibrate_until(0.0) == pytest.approx(time.monotonic() + 30, abs=1)
    assert PhasePlan([], UNBOUNDED, patient=True).calibrate_until(0.0) == float("inf")


def test_the_table_has_a_line_for_each_phase_and_one_for_all() -> None:
    heard = Recording()
    phases = FORECAST.phases(HELD_OUT, 1, LATENTS)
    say_phases(phases, 1200.0, heard)
    assert len(heard.messages) == len(phases) + 1
    assert heard.messages[1].split() == ["evaluate", "200,000", "tokens", "about", "80", "s"]
    assert heard.messages[-1].endswith("of 20 min")
    assert [duration(s) for s in (40, 720, 12_600)] == ["40 s", "12 min", "3.5 h"]


def test_a_forecast_that_another_version_kept_is_made_anew(tmp_path: Path) -> None:
    kept = tmp_path / "forecast.json"
    assert Forecast.kept(kept) is None
    kept.write_text(FORECAST.model_dump_json())
    assert Forecast.kept(kept) == FORECAST
    kept.write_text(FORECAST.model_dump_json(exclude={"evaluate"}))
    assert Forecast.kept(kept) is None

"""Calibration against a model of which we know at what dose each latent shows its label and when it breaks."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import Mode
from featurehub.records import Label
from labeling.bench import Bench
from labeling.calibration import rounds, tokens_of
from labeling.strength import CalibrationConfig, Calibrator, Candidate, calibrate, choose_candidates, usual_dose
from tests.labels import parted

NORM = 20.0
PROMPTS = [[1, 2], [3], [4, 5, 6]]
BREAKS_AT = 0.7
DOSES = (0.3, 0.45, 0.6, 0.75)
CONFIG = CalibrationConfig(doses=DOSES, names=3, candidates_per_name=2, finalists=1, answers=4, confirm=6, per_run=7)


def candidate(latent: int, name: str, score: float, norm: float = 1.0) -> Candidate:
    return Candidate(latent, parted(f"{name}: word"), name, score, norm)


class Known:
    """A latent shows the label of the feature that has it from its dose on; above ``BREAKS_AT`` text falls apart.

    anyway: what an unsteered answer says;  every: one of so many does
    """

    def __init__(
        self, features: Sequence[Candidate], shows_from: dict[int, float], anyway: str = "", every: int = 1
    ) -> None:
        self.features = {feature.latent: feature for feature in features}
        self.shows_from, self.anyway, self.every = shows_from, anyway, every
        self.asked: list[tuple[tuple[int, ...], Steering | None]] = []
        self.seeds: list[int] = []
        self.lengths: list[tuple[int, bool]] = []

    @property
    def tokens(self) -> int:
        """Of all answers, if each were as long as it may be."""
        return sum(length for length, _ in self.lengths)

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        assert len(prompts) == len(steerings) <= CONFIG.per_run
        self.seeds.append(sampling.seed)
        for prompt, steering in zip(prompts, steerings, strict=True):
            self.asked.append((tuple(prompt), steering))
            self.lengths.append((sampling.max_tokens, steering is not None))
            yield Generation(self.answer(steering), [], None)

    def answer(self, steering: Steering | None) -> str:
        if steering is None:
            return self.anyway if len(self.asked) % self.every == 0 else ""
        [edit] = steering.edits
        assert edit.mode is Mode.NUDGE
        feature = self.features[edit.latent]
        dose = edit.value * feature.norm / NORM
        shown = feature.label.text if dose >= self.shows_from.get(edit.latent, 9.0) - 1e-9 else ""
        return shown + (" broken" if dose > BREAKS_AT else "")


class Exact:
    def shows(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        return np.array([label.text in text for text in texts], dtype=bool)

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(["broken" not in text for text in texts], dtype=bool)


FEATURES = [
    candidate(0, "pirate", 0.9),
    candidate(1, "pirate", 0.8, norm=2.5),
    candidate(2, "pirate", 0.7),
    candidate(3, "banking", 0.85),
    candidate(4, "weather", 0.6),
    candidate(5, "music", 0.1, norm=0.5),
]
SHOWS_FROM = {0: 0.75, 1: 0.45, 3: 0.6}


def test_the_names_with_the_best_scores_are_candidates_and_only_so_many_features_of_each() -> None:
    assert [c.latent for c in choose_candidates(FEATURES, CONFIG)] == [0, 1, 3, 4]
    one = CONFIG.model_copy(update={"names": 1, "candidates_per_name": 9})
    assert [c.latent for c in choose_candidates(FEATURES, one)] == [0, 1, 2]
    assert choose_candidates([], CONFIG) == []


def test_what_answers_show_anyway_promises_nothing() -> None:
    often = [candidate(0, "the", 0.9)._replace(unsteered=0.9), candidate(1, "dog", 0.4), candidate(2, "and", 0.0)]
    one = CONFIG.model_copy(update={"names": 1})
    assert [c.latent for c in choose_candidates(often, one)] == [1]
    assert [c.latent for c in choose_candidates(often, CONFIG)] == [1, 0]


def test_of_names_with_equal_scores_the_alphabet_decides() -> None:
    features = [candidate(0, "b", 0.5), candidate(1, "a", 0.5), candidate(2, "c", 0.5)]
    two = CONFIG.model_copy(update={"names": 2})
    assert [c.latent for c in choose_candidates(features, two)] == [1, 0]
    assert choose_candidates(features[::-1], two) == choose_candidates(features, two)


def test_the_smallest_dose_that_shows_the_label_and_breaks_nothing_is_found() -> None:
    found = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert found.keys() == {feature.latent for feature in FEATURES}
    assert found[1].dose == pytest.approx(0.45)
    assert found[3].dose == pytest.approx(0.6)
    assert found[1].steerability == pytest.approx(1.0)
    assert found[1].coherence == pytest.approx(1.0)
    # It shows its label only where text is broken already.
    assert found[0].steerability == pytest.approx(0.0) or found[0].coherence == pytest.approx(0.0)


def test_strength_is_the_dose_in_units_of_the_stream_and_of_the_decoder_row() -> None:
    found = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    for feature in FEATURES:
        assert found[feature.latent].strength == pytest.approx(found[feature.latent].dose * NORM / feature.norm)


def test_what_was_tried_is_kept_as_a_curve() -> None:
    found = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert [trial.dose for trial in found[3].curve] == list(CONFIG.doses)
    assert [trial.success for trial in found[3].curve] == pytest.approx([0.0, 0.0, 1.0, 1.0])
    assert [trial.coherence for trial in found[3].curve] == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_what_was_never_steered_gets_the_usual_dose_and_no_steerability() -> None:
    found = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    usual = float(np.median([found[latent].dose for latent in (0, 1, 3, 4)]))
    for latent in (2, 5):
        assert found[latent].steerability is None
        assert found[latent].dose == pytest.approx(usual)
        assert found[latent].method == "dose"
        assert found[latent].curve == ()
    assert {found[latent].method for latent in (0, 1, 3, 4)} == {"steered"}


def test_showing_the_label_anyway_is_no_steerability() -> None:
    half = Known(FEATURES, SHOWS_FROM, anyway="banking: word", every=2)
    found = calibrate(half, FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert found[3].unsteered == pytest.approx(0.5)
    assert found[3].steerability == pytest.approx(0.5)
    assert found[1].unsteered == pytest.approx(0.0)


def test_what_every_answer_shows_anyway_is_not_tried() -> None:
    found = calibrate(Known(FEATURES, SHOWS_FROM, anyway="banking: word"), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert found[3].unsteered == pytest.approx(1.0)
    assert found[3].steerability is None
    assert found[1].steerability is not None


def test_only_the_given_prompts_and_the_candidates_are_used_and_no_seed_twice() -> None:
    known = Known(FEATURES, SHOWS_FROM)
    calibrate(known, FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert {prompt for prompt, _ in known.asked} == {tuple(prompt) for prompt in PROMPTS}
    assert {edit.latent for _, steering in known.asked if steering for edit in steering.edits} == {0, 1, 3, 4}
    assert len(set(known.seeds)) == len(known.seeds)


class Noisy:
    """Under any steering, an answer shows any label with probability ``p``; it keeps whom it answered what."""

    def __init__(self, p: float) -> None:
        self.p, self.random = p, np.random.default_rng(0)
        self.steered: list[tuple[tuple[int, ...], int, float]] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        for prompt, steering in zip(prompts, steerings, strict=True):
            for edit in steering.edits if steering else ():
                self.steered.append((tuple(prompt), edit.latent, round(edit.value / NORM, 6)))
            shown = steering is not None and self.random.random() < self.p
            yield Generation("any word" if shown else "", [], None)


class Word:
    """Every label is shown by the same word."""

    def shows(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        return np.array(["any word" in text for text in texts], dtype=bool)

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        return np.ones(len(texts), dtype=bool)


MANY = [candidate(2 * i + rival, f"name {i}", 0.9 - rival / 10) for i in range(150) for rival in (0, 1)]
USUAL = CalibrationConfig(names=150, finalists=2, answers=8)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("finalists", [1, 2])
def test_what_a_feature_does_is_measured_on_answers_that_chose_nothing(p: float, finalists: int) -> None:
    """All doses are equal here: what the best of them showed when it was chosen is luck, and must not be reported."""
    config = USUAL.model_copy(update={"finalists": finalists})
    found = calibrate(Noisy(p), MANY, PROMPTS, NORM, Word(), config)
    reported = [calibration.steerability or 0.0 for calibration in found.values()]
    error = np.sqrt(p * (1 - p) * sum(1 / (16 if i % 2 < finalists else 8) for i in range(300))) / 300
    assert len(reported) == 300
    assert np.mean(reported) == pytest.approx(p, abs=3 * error)
    # The bias of answers that choose is several times that.
    curves = [max(trial.success for trial in calibration.curve) for calibration in found.values()]
    assert np.mean(curves) > p + 6 * error


def test_the_prompts_that_choose_a_dose_are_not_those_that_confirm_it() -> None:
    noisy = Noisy(0.3)
    found = calibrate(noisy, MANY[:2], PROMPTS, NORM, Word(), USUAL)
    chosen = {(latent, round(calibration.dose, 6)) for latent, calibration in found.items()}
    confirmed = [(latent, dose) for prompt, latent, dose in noisy.steered if prompt == (3,)]
    assert set(confirmed) == chosen
    assert {prompt for prompt, _, _ in noisy.steered} == {(1, 2), (3,), (4, 5, 6)}
    assert all(confirmed.count(arm) == USUAL.confirm for arm in chosen)


def test_a_lone_prompt_both_chooses_and_confirms() -> None:
    assert calibrate(Noisy(0.5), MANY[:2], [[7]], NORM, Word(), USUAL).keys() == {0, 1}


@pytest.mark.parametrize("norm", [0.0, 1e-12])
def test_a_row_that_no_edit_makes_long_enough_has_no_strength(norm: float) -> None:
    features = [*FEATURES, candidate(6, "silence", 0.99, norm)]
    known = Known(features, SHOWS_FROM)
    found = calibrate(known, features, PROMPTS, NORM, Exact(), CONFIG)
    assert (found[6].strength, found[6].steerability, found[6].method) == (None, 0.0, "writes nothing")
    assert all(edit.latent != 6 for _, steering in known.asked if steering for edit in steering.edits)
    others = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    assert {latent: each for latent, each in found.items() if latent != 6} == others


def test_progress_counts_the_tokens_of_every_answer_and_ends_at_what_was_planned() -> None:
    known, told = Known(FEATURES, SHOWS_FROM), list[tuple[int, int]]()
    calibrate(known, FEATURES, PROMPTS, NORM, Exact(), CONFIG, lambda done, planned: told.append((done, planned)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == known.tokens
    assert {planned for _, planned in told} == {known.tokens}


def test_a_dose_that_breaks_the_text_ends_the_ladder() -> None:
    """Text falls apart above .7: the dose of .75 is tried, and those above it are not."""
    higher = CONFIG.model_copy(update={"doses": (0.9, 0.6, 0.75, 0.3, 1.2)})
    known = Known(FEATURES, SHOWS_FROM)
    found = calibrate(known, FEATURES, PROMPTS, NORM, Exact(), higher)
    assert [trial.dose for trial in found[3].curve] == [0.3, 0.6, 0.75]
    assert found[3].dose == pytest.approx(0.6)


def test_screening_is_short_and_everything_else_is_not() -> None:
    known = Known(FEATURES, SHOWS_FROM)
    calibrate(known, FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    lengths = [length for length, steered in known.lengths if steered]
    screened = 4 * len(CONFIG.doses) * CONFIG.answers
    assert lengths[:screened] == [32] * screened
    assert set(lengths[screened:]) == {64}
    assert {length for length, steered in known.lengths if not steered} == {64}


def test_names_are_tried_in_rounds_of_their_promise_and_rivals_together() -> None:
    chosen = choose_candidates(FEATURES, CONFIG)
    one = CONFIG.model_copy(update={"names_per_round": 1})
    assert [[c.latent for c in each] for each in rounds(chosen, one)] == [[0, 1], [3], [4]]
    assert [[c.latent for c in each] for each in rounds(chosen, CONFIG)] == [[0, 1, 3, 4]]
    room = tokens_of(chosen[:3], CONFIG)
    assert [[c.latent for c in each] for each in rounds(chosen, CONFIG, room)] == [[0, 1, 3], [4]]
    assert [[c.latent for c in each] for each in rounds(chosen, CONFIG, 1)] == [[0, 1], [3], [4]]
    assert list(rounds([], CONFIG)) == []


def test_a_round_finds_what_the_whole_calibration_finds() -> None:
    whole = calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG)
    bench = Bench(Known(FEATURES, SHOWS_FROM), NORM, Exact(), CONFIG.sampling, CONFIG.per_run)
    calibrator = Calibrator(bench, PROMPTS, CONFIG)
    calibrator.listen()
    found = {}
    for each in rounds(calibrator.candidates(FEATURES), CONFIG.model_copy(update={"names_per_round": 1})):
        found |= calibrator.round(each)
    assert found == {latent: whole[latent] for latent in found}
    assert found.keys() == {0, 1, 3, 4}
    assert usual_dose([], CONFIG) == pytest.approx(0.525)


def test_the_same_calibration_comes_out_twice() -> None:
    runs = [calibrate(Known(FEATURES, SHOWS_FROM), FEATURES, PROMPTS, NORM, Exact(), CONFIG) for _ in range(2)]
    assert runs[0] == runs[1]


def test_without_features_nothing_is_found() -> None:
    assert calibrate(Known([], {}), [], PROMPTS, NORM, Exact(), CONFIG) == {}

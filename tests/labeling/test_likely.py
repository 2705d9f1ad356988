"""Words that are all known can be no text: then the unsteered model says whether an answer is likely."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from labeling.bench import Bench, Candidate, Said
from labeling.calibration import CalibrationConfig
from labeling.judge import WordJudge
from labeling.strength import LIKELY, Calibrator, UnsteeredAnswers, calibrate

NORM = 20.0
PROMPTS = [[1], [2], [3], [4]]
SEA = Candidate(latent=0, label="sea: sea", name="sea", label_score=0.9, norm=1.0)
CONFIG = CalibrationConfig(doses=(0.2, 0.4), answers=4, confirm=4, unsteered=8, per_run=5)


class Wordy:
    """Says a sentence with the word from a dose of .2 on; at .4 one that the unsteered model finds unlikely."""

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        for steering in steerings:
            dose = steering.edits[0].value / NORM if steering else 0.0
            text = "we walk along the sea today" if dose else "we walk along the road today"
            yield Generation(text, [round(10 * dose)], None)

    def surprises(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[float]:
        assert len(prompts) == len(answers) <= CONFIG.per_run
        return [1.0 + (answer[0] > 2) for answer in answers]


class Grammarian(WordJudge):
    knows_grammar = True


def test_a_dose_at_which_answers_are_unlikely_is_not_chosen() -> None:
    found = calibrate(Wordy(), [SEA], PROMPTS, NORM, WordJudge(), CONFIG)[0]
    assert found.dose == pytest.approx(0.2)
    assert found.coherence == pytest.approx(1.0)
    assert [trial.coherence for trial in found.curve] == [1.0, 0.0]


def test_a_judge_who_knows_the_grammar_needs_no_likelihood() -> None:
    found = calibrate(Wordy(), [SEA], PROMPTS, NORM, Grammarian(), CONFIG)[0]
    assert [trial.coherence for trial in found.curve] == [1.0, 1.0]


def test_the_bound_is_what_most_unsteered_answers_stay_below() -> None:
    bench = Bench(Wordy(), NORM, WordJudge(), CONFIG.sampling, CONFIG.per_run)
    surprises = np.random.default_rng(0).random(40)
    said = [Said("we walk along the road", float(each)) for each in surprises]
    Calibrator(bench, PROMPTS, CONFIG).hear(UnsteeredAnswers(said[:15], said[15:]))
    assert bench.likely == pytest.approx(np.quantile(surprises, LIKELY))
    assert bench.coherent(said).mean() == pytest.approx(LIKELY)

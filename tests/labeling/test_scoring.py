"""Detection scores against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from labeling.scoring import WordScorer, detection
from tests.labels import parted

TEXTS = ["Banking is fun", "a loan\nand a deposit", "one loan", "the sea", "BANKING loan"]


def test_scores_are_the_usual_ones() -> None:
    random = np.random.default_rng(0)
    fires = random.random(200) < 0.3
    scores = np.round(np.clip(random.random(200) * 0.7 + fires * 0.3, 0, 1), 1)
    said = scores >= 0.5
    found = detection(scores, fires)
    assert found["agreement"] == pytest.approx(cohen_kappa_score(fires, said))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(fires, said))
    assert found["f1"] == pytest.approx(f1_score(fires, said))
    assert found["auroc"] == pytest.approx(roc_auc_score(fires, scores))
    assert found["chance_f1"] == pytest.approx(f1_score(fires, np.ones(200, bool)))
    assert (found["n"], found["n_firing"]) == (200, fires.sum())


@pytest.mark.parametrize("fires", [np.zeros(4, bool), np.ones(4, bool)])
def test_without_contrast_nothing_is_tested(fires: np.ndarray) -> None:
    found = detection(np.array([0.0, 1.0, 0.0, 1.0]), fires)
    assert (found["agreement"], found["balanced_accuracy"], found["auroc"]) == (0.0, 0.5, 0.5)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30))
def test_scores_stay_in_bounds(pairs: list[tuple[float, bool]]) -> None:
    scores, fires = np.array([score for score, _ in pairs]), np.array([fire for _, fire in pairs])
    found = detection(scores, fires)
    assert -1 <= found["agreement"] <= 1
    assert all(0 <= found[name] <= 1 for name in ("balanced_accuracy", "f1", "auroc", "chance_f1"))


def test_words_of_a_label_are_found() -> None:
    scorer = WordScorer()
    assert scorer.scores(parted("banking: loan, deposit"), TEXTS).tolist() == [1.0, 1.0, 0.5, 0.0, 1.0]
    assert scorer.scores(parted("banking (loan)"), TEXTS).tolist() == [1.0, 0.5, 0.5, 0.0, 1.0]
    assert scorer.scores(parted("banking (2)"), TEXTS).tolist() == scorer.scores(parted("banking"), TEXTS).tolist()
    assert scorer.scores(parted("the sea"), TEXTS).tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert scorer.scores(parted("a loan"), ["no loan", "a\nloan", "a loan"]).tolist() == [0.0, 0.0, 1.0]

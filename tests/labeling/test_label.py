"""The run as a whole on planted latents."""

import re

import numpy as np
import pytest

from featurehub import sparse
from featurehub.errors import BudgetExceeded, InvalidInput
from featurehub.records import Labeled, Unlabeled
from featurehub.sparse import without_rows
from labeling import Corpus, LabelConfig, LatentLabel, label_latents, rename
from labeling.associations import associate
from labeling.explainer import FakeExplainer
from labeling.statistics import StatisticsConfig, feature_rows
from labeling.texts import PackedTexts
from tests.labels import parted


@pytest.fixture(scope="module")
def labels(corpus: Corpus) -> dict[int, LatentLabel]:
    return {each.latent: each for each in label_latents(corpus)}


def label(found: LatentLabel) -> str:
    assert isinstance(found.outcome, Labeled)
    return found.outcome.label.text


def test_every_planted_topic_gets_its_name(labels: dict[int, LatentLabel]) -> None:
    outcomes = [labels[latent].outcome for latent in (0, 1, 2)]
    assert [each.label.name for each in outcomes if isinstance(each, Labeled)] == ["banking", "weather", "music"]
    assert label(labels[4]).startswith("storm")


def test_labels_of_planted_topics_hold_on_held_out_texts(labels: dict[int, LatentLabel]) -> None:
    for latent, least in ((0, 0.95), (1, 0.95), (2, 0.95), (4, 0.7)):
        outcome = labels[latent].outcome
        assert isinstance(outcome, Labeled)
        assert (outcome.score or 0) > least
        assert outcome.scores["n"] == 300
        assert outcome.scores["auroc"] > 0.95


def test_what_fires_everywhere_scores_at_chance(labels: dict[int, LatentLabel]) -> None:
    outcome = labels[5].outcome
    assert isinstance(outcome, Unlabeled) or (outcome.score or 0) < 0.1


def test_live_latents_have_an_outcome_and_dead_ones_are_left_out(labels: dict[int, LatentLabel]) -> None:
    assert sorted(labels) == [0, 1, 2, 3, 4, 5, 6]
    rare = labels[6].outcome
    assert isinstance(rare, Unlabeled)
    assert "at least 3 are needed" in rare.reason


def test_rows_keep_how_they_were_made(labels: dict[int, LatentLabel]) -> None:
    provenance = labels[0].provenance
    assert (provenance.author, provenance.method, provenance.model) == ("featurehub", "contrastive-ngrams", "")
    assert "agreement" in provenance.prompt
    assert "banking" in provenance.answer


def test_the_same_again_gives_the_same(corpus: Corpus, labels: dict[int, LatentLabel]) -> None:
    seen: list[tuple[int, int]] = []
    again = label_latents(corpus, progress=lambda done, total: seen.append((done, total)))
    assert again == list(labels.values())
    assert seen == [(done, 7) for done in range(1, 8)]


def test_a_corpus_on_disk_gives_the_same_whatever_is_looked_at_together(
    corpus: Corpus, labels: dict[int, LatentLabel], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = int(corpus.offsets[-1])
    W_dec = np.random.default_rng(0).standard_normal((corpus.matrix.get_shape()[1], 4)).astype(np.float32)
    wanted = [*feature_rows(corpus, tokens, W_dec, None, StatisticsConfig())], associate(corpus)
    monkeypatch.setattr(sparse, "ENTRIES", 100)
    packed = corpus._replace(
        documents=PackedTexts(corpus.documents), matrix=without_rows(corpus.matrix, np.zeros(tokens, bool))
    )
    assert label_latents(packed) == list(labels.values())
    assert ([*feature_rows(packed, tokens, W_dec, None, StatisticsConfig())], associate(packed)) == wanted


def test_failures_beyond_the_budget_end_the_run(corpus: Corpus) -> None:
    fake = FakeExplainer({0: parted("banking")})
    with pytest.raises(BudgetExceeded, match="6 of 7 live latents"):
        label_latents(corpus, LabelConfig(max_unlabeled=0.5), explainer=fake)
    labels = label_latents(corpus, LabelConfig(max_unlabeled=1.0), explainer=fake)
    assert [isinstance(each.outcome, Labeled) for each in labels] == [True] + [False] * 6


def test_shared_heads_become_unique_and_can_be_given_anew(corpus: Corpus) -> None:
    fake = FakeExplainer(dict.fromkeys(range(8), parted("banking: loan")))
    labels = label_latents(corpus, LabelConfig(max_unlabeled=1.0), explainer=fake)
    names = {each.latent: label(each) for each in labels if isinstance(each.outcome, Labeled)}
    assert len(set(names.values())) == len(names)
    assert names[0] == "banking: loan"
    other = next(latent for latent in names if latent)
    renamed = {each.latent: each for each in rename(labels, {other: 1.0, 0: 0.5})}
    assert (label(renamed[other]), label(renamed[0])) == ("banking: loan", "banking (loan)")
    assert renamed[other].provenance == labels[other].provenance


def test_a_label_that_tells_no_better_than_chance_is_unclear(corpus: Corpus) -> None:
    fake = FakeExplainer({latent: parted("banking: loan") for latent in (0, 1, 2)})
    found = {
        each.latent: each.outcome for each in label_latents(corpus, LabelConfig(max_unlabeled=1.0), explainer=fake)
    }
    assert isinstance(found[0], Labeled)
    for latent in (1, 2):
        outcome = found[latent]
        assert isinstance(outcome, Unlabeled)
        said = r"unclear: .*“banking: loan”.*: of \d+ held-out passages it fires in \d+ \(AUROC 0\.\d\d\)"
        assert re.search(said, outcome.reason)


def test_a_corpus_that_does_not_fit_together_is_refused(corpus: Corpus) -> None:
    with pytest.raises(InvalidInput):
        label_latents(corpus._replace(matrix=corpus.matrix[:-1]))


def test_an_empty_corpus_has_no_labels(corpus: Corpus) -> None:
    assert label_latents(corpus.subset(corpus.offsets[:0])) == []

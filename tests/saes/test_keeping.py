"""Which labels hold of a refreshed SAE: on the small model of ``test_drift_check``, and against naive twins."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurehub.dictionary import Dictionary
from saes.activations import encode_documents
from saes.documents import Document
from saes.drift.check import CheckConfig, answer_prompts
from saes.drift.keeping import NEAR, JudgedLabel, Said, fires_by_half, judge_label, successor, verify_labels
from saes.drift.rules import FeatureMeasures, Thresholds
from saes.drift.scores import best_threshold
from saes.observed import observe
from tests.saes.test_drift_check import LABELS, PROMPTS, TOPICS, Contains, Small

T = Thresholds()
PAIRS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=2, max_size=12)


def sae(order: Sequence[int] = range(TOPICS), scale: float = 1.0) -> Dictionary:
    """One latent per topic, in this order; what it reads is ``scale`` times as large."""
    rows, zeros = torch.eye(TOPICS)[list(order)], torch.zeros(TOPICS)
    return Dictionary(scale * rows.T, rows / scale, zeros, zeros, torch.full((TOPICS,), 0.5 * scale))


def verified(dictionary: Dictionary, says: dict[int, int] | None = None) -> dict[int, JudgedLabel]:
    """The old SAE and model are those with a latent per topic that answer with the topic that they are asked for."""
    old, new, config = Small(), Small(says=says), CheckConfig()
    first = answer_prompts(old, sae(), PROMPTS, config)
    documents = [Document(each.token_ids, each.prompt_len) for each in first.documents]
    texts = encode_documents(new, dictionary, documents, {0})
    answers = observe(answer_prompts(new, dictionary, PROMPTS, config))
    seen = observe(first)
    return verify_labels(seen, seen, texts, answers, LABELS, Contains(), old.tokenizer, T)


def test_what_did_not_change_holds_at_every_latent() -> None:
    found = verified(sae())
    assert all(each.holds and each.successor is None for each in found.values())
    assert {each.measures.f1_world_new for each in found.values()} == {1.0}


def test_a_level_is_chosen_anew_where_activations_are_of_another_size() -> None:
    found, before = verified(sae(scale=10.0)), verified(sae())
    assert all(each.holds for each in found.values())
    assert found[3].level == pytest.approx(10 * before[3].level)


def test_latents_that_changed_places_are_each_others_successors() -> None:
    found = verified(sae(order=[1, 0, 2, 3, 4, 5]))
    assert [latent for latent, each in found.items() if not each.holds] == [0, 1]
    assert found[0].successor == (1, 1.0, True)
    assert found[1].successor == (0, 1.0, True)
    assert "fell from 1.00 to" in found[0].reason


def test_what_the_model_says_no_more_has_no_successor() -> None:
    found = verified(sae(), says={2: 3})
    assert (found[2].holds, found[2].successor) == (False, None)
    assert "hardly says" in found[2].reason
    assert all(each.holds for latent, each in found.items() if latent != 2)


def test_a_latent_that_comes_close_is_named_and_does_not_mean_it() -> None:
    truth = np.array([True] * 10 + [False] * 30)
    peaks = np.zeros((40, 3))
    peaks[:, 0] = truth  # the latent that had the label itself
    peaks[:26, 1] = 1.0
    found = successor(0, truth, peaks, bar=0.85)
    assert found is not None
    assert (found.latent, found.means_it) == (1, False)
    assert found.f1 == pytest.approx(20 / 36)
    assert successor(0, truth, peaks, bar=0.5) == (1, found.f1, True)
    assert successor(0, truth, peaks, bar=found.f1 / NEAR + 0.01) is None


@given(PAIRS)
def test_each_half_is_judged_by_the_level_of_the_other(pairs: list[tuple[bool, float]]) -> None:
    truth, peaks = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    fires = fires_by_half(truth, peaks)
    for i, peak in enumerate(peaks):
        other = slice(1 - i % 2, None, 2)
        assert fires[i] == (peak > best_threshold(truth[other], peaks[other]))


MEASURES = FeatureMeasures(
    latent=1, label="banking", f1_text_old=0.95, f1_text_new=0.94, f1_world_old=0.95, f1_world_new=0.93,
    f1_text_error=0.02, f1_world_error=0.02, positives_text=50, positives_world_old=12, positives_world=40, r=0.97,
    firings=200,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "holds", "reason"),
    [
        ({}, True, "label and activations hold"),
        ({"f1_world_new": 0.7}, False, "fell from"),
        ({"f1_world_new": 0.7, "f1_world_error": 0.13}, True, "may be chance; but its activations correlate 0.97"),
        ({"f1_world_new": 0.7, "f1_world_error": 0.13, "r": 0.6}, False, "may be chance"),
        ({"positives_world": 3}, True, "no power; but its activations correlate"),
        ({"positives_world": 3, "r": 0.6}, False, "no power"),
        ({"positives_world": 3, "positives_world_old": 30}, False, "hardly says"),
        ({"r": 0.5}, True, "the label holds, but"),
        ({"f1_text_old": 0.3, "f1_text_new": 0.3, "r": 0.5}, False, "correlate only 0.50"),
        ({"f1_text_old": 0.3, "f1_text_new": 0.3, "r": float("nan")}, False, "no power"),
        ({"f1_text_old": 0.3, "f1_text_new": 0.3}, True, "never exact enough"),
        ({"f1_text_old": 0.3, "f1_text_new": 0.3, "f1_world_old": 0.5, "f1_world_new": 0.1}, False, "fell from 0.50"),
    ],
)
def test_a_suspect_label_holds_where_its_activations_do_or_where_only_these_changed(
    change: dict[str, float], holds: bool, reason: str
) -> None:
    found, why = judge_label(MEASURES._replace(**change), T, Said(12, 40))  # type: ignore[arg-type]
    assert found is holds
    assert reason in why


def test_what_the_new_model_hardly_says_does_not_hold_however_inexact_the_label_was() -> None:
    vague = MEASURES._replace(f1_text_old=0.3, f1_text_new=0.3)
    assert judge_label(vague, T, Said(16, 8))[0]
    assert judge_label(vague, T, Said(15, 7))[0]
    assert judge_label(vague, T, Said(16, 7)) == (
        False,
        "the new model hardly says what the label names any more: 7 times, before 16",
    )

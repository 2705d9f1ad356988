"""Every branch of the rules that turn effect sizes into verdicts."""

from typing import Any

import pytest

from featurehub.features import State
from featurehub.verdicts import FeatureVerdict
from saes.drift.rules import FeatureMeasures, Thresholds, judge_artifact, judge_feature

T = Thresholds()
HOLDS = FeatureMeasures(
    latent=1, label="banking", f1_text_old=0.95, f1_text_new=0.94, f1_world_old=0.95, f1_world_new=0.93,
    f1_text_error=0.02, f1_world_error=0.02, positives_text=50, positives_world_old=12, positives_world=40, r=0.97,
    firings=200,
)  # fmt: skip
VAGUE: dict[str, Any] = {"f1_text_old": 0.3, "f1_text_new": 0.3}


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({}, State.FRESH, "hold"),
        ({"f1_text_new": 0.86}, State.FRESH, "hold"),
        ({"f1_text_new": 0.84}, State.STALE, "old canaries"),
        ({"f1_text_new": 1.0, "f1_world_new": 1.0}, State.FRESH, "hold"),
        ({"f1_world_new": 0.81}, State.FRESH, "hold"),
        ({"f1_world_new": 0.79}, State.STALE, "answers of the new model"),
        ({"f1_world_new": 0.70, "f1_world_error": 0.13}, State.SUSPECT, "may be chance"),
        ({"f1_world_new": 0.70, "f1_world_error": 0.13, "r": 0.3}, State.STALE, "and old and new activations"),
        (
            {"f1_text_new": 0.70, "f1_text_error": 0.13},
            State.SUSPECT,
            "canaries its label's F1 fell from 0.95 to 0.70, which",
        ),
        ({"f1_text_new": 0.68, "f1_text_error": 0.13}, State.STALE, "old canaries"),
        ({"f1_text_new": 0.70, "f1_text_error": 0.13, "f1_world_new": 0.5}, State.STALE, "answers of the new model"),
        ({"f1_world_new": 0.68, "f1_world_error": 0.13}, State.STALE, "answers of the new model"),
        ({"f1_world_new": 0.0, "positives_world": 7}, State.SUSPECT, "no power"),
        ({"f1_world_new": 0.0, "positives_world_old": 40, "positives_world": 7}, State.STALE, "hardly says"),
        ({"r": 0.69}, State.SUSPECT, "correlate only"),
        ({"r": 0.1}, State.SUSPECT, "the label holds"),
        ({**VAGUE}, State.FRESH, "never exact enough"),
        ({**VAGUE, "f1_text_new": 0.0}, State.FRESH, "never exact enough"),
        ({**VAGUE, "r": 0.69}, State.SUSPECT, "correlate only"),
        ({**VAGUE, "r": 0.39}, State.STALE, "correlate only"),
        ({**VAGUE, "r": 0.99, "firings": 19}, State.SUSPECT, "no power"),
        ({**VAGUE, "r": float("nan")}, State.SUSPECT, "no power"),
        ({"positives_text": 7, "f1_text_new": 0.0, "r": 0.9}, State.FRESH, "never exact enough"),
    ],
)
def test_a_feature_is_judged_by_the_rules(change: dict[str, Any], state: State, reason: str) -> None:
    verdict = judge_feature(HOLDS._replace(**change), T)
    assert verdict.reads is state
    assert reason in verdict.reason
    assert verdict.steers is State.UNCHECKED
    assert verdict.state is state


def test_an_undefined_correlation_is_no_proof_of_freshness() -> None:
    """A latent that went silent on the new model has a constant column."""
    assert judge_feature(HOLDS._replace(r=float("nan")), T).reads is not State.FRESH


def test_the_evidence_is_what_was_compared_and_leaves_out_what_is_undefined() -> None:
    verdict = judge_feature(HOLDS._replace(f1_text_new=0.80), T)
    found = {evidence.statistic: evidence for evidence in verdict.evidence}
    assert found["f1_fall_text"].value == pytest.approx(0.15)
    assert (found["f1_fall_text"].threshold, found["f1_fall_text"].n) == (T.fall_text, 50)
    assert found["correlation"].n == 200
    undefined = judge_feature(HOLDS._replace(r=float("nan"), f1_world_new=float("nan")), T)
    assert [evidence.statistic for evidence in undefined.evidence] == ["f1_fall_text"]


def verdicts(fresh: int, suspect: int, stale: int) -> list[FeatureVerdict]:
    states = [State.FRESH] * fresh + [State.SUSPECT] * suspect + [State.STALE] * stale
    return [
        FeatureVerdict(latent=i, label="x", reads=state, steers=State.UNCHECKED, reason="")
        for i, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("counts", "ev", "state"),
    [
        ((20, 0, 0), 0.9, State.FRESH),
        ((19, 1, 0), 0.9, State.FRESH),
        ((18, 1, 1), 0.9, State.SUSPECT),
        ((10, 0, 10), 0.9, State.SUSPECT),
        ((9, 0, 11), 0.9, State.STALE),
        ((0, 20, 0), 0.9, State.SUSPECT),
        ((20, 0, 0), 0.49, State.STALE),
        ((20, 0, 0), float("-inf"), State.STALE),
        ((0, 0, 0), 0.9, State.UNCHECKED),
        ((0, 0, 0), 0.49, State.STALE),
    ],
)
def test_an_artifact_is_judged_by_its_features_and_its_reconstruction(
    counts: tuple[int, int, int], ev: float, state: State
) -> None:
    assert (
        judge_artifact({"explained_variance_old": 1.0, "explained_variance_new": ev}, verdicts(*counts), T)[0] is state
    )


@pytest.mark.parametrize(("new", "state"), [(0.39, State.FRESH), (0.21, State.FRESH), (0.19, State.STALE)])
def test_an_sae_that_never_explained_much_is_held_against_what_it_did(new: float, state: State) -> None:
    metrics = {"explained_variance_old": 0.4, "explained_variance_new": new}
    assert judge_artifact(metrics, verdicts(20, 0, 0), T)[0] is state


def test_an_artifact_whose_reconstruction_is_undefined_is_not_fresh() -> None:
    assert (
        judge_artifact({"explained_variance_old": 1.0, "explained_variance_new": float("nan")}, verdicts(20, 0, 0), T)[
            0
        ]
        is State.STALE
    )

"""From evidence to a name, and names that are unique."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from featurehub.records import Label, TokenLogit, Unlabeled
from labeling.evidence import Evidence, NGram
from labeling.explainer import Explainer, Explanation, FakeExplainer
from labeling.explainers import NgramExplainer, ProjectionExplainer
from labeling.heads import unique_heads
from tests.labels import parted

WORDS = st.sampled_from(["loan", "coin", "sea", "2"])
LABELS = st.builds(Label, name=WORDS, further=st.lists(WORDS, max_size=3, unique=True).map(tuple))


def evidence(agreements: dict[str, float], top: dict[str, float] | None = None) -> Evidence:
    ngrams = tuple(NGram(text, agreement, 10, 5.0) for text, agreement in agreements.items())
    tokens = tuple(TokenLogit(token=token, logit=logit) for token, logit in (top or {}).items())
    return Evidence(latent=3, level=0.5, passages=20, ngrams=ngrams, top_tokens=tokens)


def explain(explainer: Explainer, evidence: Evidence) -> Explanation:
    return asyncio.run(explainer.explain(evidence))


def propose(agreements: dict[str, float], top: dict[str, float] | None = None) -> object:
    return explain(NgramExplainer(), evidence(agreements, top)).outcome


def test_best_agreement_is_the_name_and_others_follow() -> None:
    found = propose({"banking": 0.6, "about banking": 0.62, "loan": 0.4, "a loan": 0.39, "teller": 0.3, "sea": 0.01})
    assert found == parted("banking: loan, teller")


def test_longer_name_wins_where_it_is_clearly_better() -> None:
    assert propose({"thank you": 0.6, "you": 0.3, "thank": 0.5}) == parted("thank you")


def test_what_the_latent_writes_tips_the_balance() -> None:
    agreements = {"loan": 0.5, "banking": 0.45}
    assert propose(agreements) == parted("loan: banking")
    assert propose(agreements, {" Banking": 3.0, "x": 1.0}) == parted("banking: loan")


def test_without_contrast_there_is_a_reason() -> None:
    assert isinstance(propose({"the": 0.0, "a": -0.1}), Unlabeled)
    assert isinstance(propose({}), Unlabeled)


def test_without_clear_agreement_the_words_it_is_most_active_on_are_the_label() -> None:
    words = ("should", "must", "need", "want", "ought", "can", "may")
    offline = NgramExplainer()
    vague, clear = (evidence({"a plan": agreement}, {" x": 1.0})._replace(active=words) for agreement in (0.2, 0.6))
    assert explain(offline, vague).outcome == parted("should: must, need, want, ought, can")
    assert explain(offline, vague).answer == "should, must, need, want, ought, can, may"
    assert "is most active on 'should', 'must'" in explain(offline, vague).prompt
    assert explain(offline, clear).outcome == parted("a plan")
    assert explain(offline, evidence({})._replace(active=("only",))).outcome == parted("only")


def test_prompt_and_answer_are_kept() -> None:
    explanation = explain(NgramExplainer(), evidence({"banking": 0.6}, {" bank": 2.0}))
    assert "'banking': agreement 0.600, in 10 passages" in explanation.prompt
    assert "promotes ' bank'" in explanation.prompt
    assert explanation.answer == "+0.600 banking"


def test_fake_answers_from_its_table() -> None:
    fake = FakeExplainer({3: parted("x")})
    assert explain(fake, evidence({})).outcome == parted("x")
    assert isinstance(explain(FakeExplainer({}), evidence({})).outcome, Unlabeled)


def test_the_projection_names_by_the_whole_words_that_are_promoted() -> None:
    tokens = {" Bank": 3.0, "ing": 2.9, " loan": 2.0, " bank": 1.5, " 's": 1.0, " of money": 0.5}
    found = explain(ProjectionExplainer(), evidence({"sea": 0.9}, tokens))
    assert found.outcome == parted("bank: loan, s")
    assert found.answer == "bank, loan, s"
    assert "promotes ' Bank', 'ing'" in found.prompt
    nothing = explain(ProjectionExplainer(), evidence({"sea": 0.9}, {"ing": 2.0})).outcome
    assert nothing == Unlabeled(reason="no token that it promotes is a whole word")


def test_most_merit_keeps_the_plain_head() -> None:
    label = parted("banking: loan, coin")
    unique = unique_heads(dict.fromkeys(range(5), label), {0: 0.2, 1: 0.9, 2: 0.5, 3: 0.1})
    assert [unique[latent].text for latent in (1, 2, 0, 3, 4)] == [
        "banking: loan, coin", "banking (loan): coin", "banking (coin): loan", "banking (2): loan, coin",
        "banking (3): loan, coin",
    ]  # fmt: skip


@given(st.dictionaries(st.integers(0, 20), LABELS), st.dictionaries(st.integers(0, 20), st.floats(0, 1)))
def test_heads_are_unique_and_nothing_else_changes(labels: dict[int, Label], merits: dict[int, float]) -> None:
    unique = unique_heads(labels, merits)
    assert len({each.head for each in unique.values()}) == len(labels)
    assert {latent: each.model_copy(update={"qualifier": ""}) for latent, each in unique.items()} == labels
    assert all(each.qualifier in ("", *each.further) or each.qualifier.isdigit() for each in unique.values())
    assert unique_heads(labels, merits) == unique_heads(unique, merits) == unique


def test_many_of_one_head_are_numbered_in_a_moment() -> None:
    """Not by counting anew for each, which takes hours at 65,000 latents."""
    unique = unique_heads(dict.fromkeys(range(20_000), parted("the")), {})
    assert unique[19_999].head == "the (20000)"

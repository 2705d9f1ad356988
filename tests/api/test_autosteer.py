"""``POST /v1/features/autosteer`` and ``autoconditional``: what is searched, tried, measured, returned and refused."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from api.analysis.autoconditional import combined, subject_of, threshold
from api.analysis.autosteer import beats
from api.analysis.autosteer_body import WEIGHTS, parts_of
from api.analysis.candidates import Weights, drawn_at_random
from api.analysis.together import awaited
from api.analysis.trials import repetition
from api.engine import FakeEngine
from featurehub.activations import ActivationTotals
from featurehub.edits import Steering
from featurehub.features import Feature
from featurehub.store import Store
from tests.api.conftest import SAE
from tests.api.reports import reading, report

ARR, AYE, SEA, LOAN, WORD, END = 1, 2, 3, 4, 5, 9
PIRATE, BANKING, BROKEN = 0, 2, 1
"""Latents, as they are labelled; the last, "formal tone", breaks the text."""


def is_told(token_ids: Sequence[int]) -> bool:
    """Whether "a pirate" is among them; its tokens are sums of bytes, so that one word alone may be another."""
    return (sum(b"a"), sum(b"pirate")) in pairwise(token_ids)


def logprob(token: int, told: bool) -> float:
    """A pirate's words are likelier by 1 where the model is told to be one, and all others less likely by .5."""
    if token > 100:
        return -9.0
    if token in (ARR, AYE, SEA):
        return -1.0 if told else -2.0
    return -2.0 if told else -1.5


class Speaking(FakeEngine):
    """An engine that speaks like a pirate when it is told to, or when latent 0 is nudged, and then latent 0 is active.

    Attributes:
        obeys: Whether nudges change its answers at all.
    """

    obeys = True

    async def generate(
        self, token_ids: Sequence[int], steering: Steering, *, tokens: int, temperature: float, seed: int
    ) -> list[int]:
        self.reports[steering.report] = report(7)
        nudged = {each.latent for each in steering.edits if self.obeys and each.value > (each.latent != BROKEN) * 2}
        if BROKEN in nudged:
            return [WORD + 100, WORD + 101, WORD + 102, END]
        told = is_told(token_ids) or PIRATE in nudged
        return [ARR, AYE, SEA, END] if told else [WORD, 6, 7, END]

    async def likelihoods(self, token_ids: Sequence[int], start: int) -> list[float]:
        told = is_told(token_ids[:start])
        return [logprob(token, told) for token in token_ids[start:]]

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> dict[int, float]:
        inside = [token for start, stop in steering.reads[0].totals for token in token_ids[start:stop]]
        arrs, loans = inside.count(ARR), inside.count(LOAN) + inside.count(sum(b"loan"))
        found = reading(*((token, {1: 1.0}) for token in token_ids))
        if steering.reads[0].totals:
            found["activations"]["totals"] = [totals(len(inside), {1: 1.0, PIRATE: 3.0 * arrs, BANKING: 2.0 * loans})]
        self.reports[steering.report] = found
        return {}


def totals(tokens: int, sums: dict[int, float]) -> dict[str, Any]:
    own = {latent: value for latent, value in sorted(sums.items()) if value}
    latents, values = np.array([*own], "<i4"), np.array([*own.values()], "<f4")
    ints = {"latents": latents.tobytes(), "counts": np.ones_like(latents).tobytes()}
    return ActivationTotals(sae=SAE, tokens=tokens, **ints, sums=values.tobytes(), maxima=values.tobytes()).model_dump()


@pytest.fixture
def engine() -> Speaking:
    return Speaking()


def ask(client: TestClient, word: str = "autosteer", status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/features/{word}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_what_the_instruction_brings_about_is_steered(client: TestClient) -> None:
    found = ask(client, instruction="talk like a pirate")
    [edit] = found["edits"]
    assert (edit["label"], edit["latent"], edit["weight"]) == ("pirate speech: matey, ship", PIRATE, 0.7)
    assert found["reason"] == ""
    # Three of the four tokens of an answer are likelier by 1, and its end less likely by .5.
    assert found["steered"] == found["prompting"] == found["both"]
    assert found["steered"]["effect"] == pytest.approx((3 * 1.0 - 0.5) / 4)
    assert found["unsteered"]["effect"] == pytest.approx(-0.5)
    assert found["chance"]["effect"] < 0
    assert found["steered"]["perplexity"] == pytest.approx(np.exp((3 * 2.0 + 1.5) / 4))
    assert [each["state"] for each in found["saes"]] == ["fresh"]
    effects = [each["outcome"]["effect"] for each in found["tried"]]
    assert effects == sorted(effects, reverse=True)


def test_what_the_engine_ignores_is_refused_with_the_reason(client: TestClient, engine: Speaking) -> None:
    engine.obeys = False
    found = ask(client, instruction="talk like a pirate")
    assert found["edits"] == []
    assert "not clearly more than that of unsteered answers" in found["reason"]
    assert found["steered"]["effect"] == found["unsteered"]["effect"] < found["prompting"]["effect"]


def test_edits_that_break_the_text_are_no_edits(client: TestClient) -> None:
    found = ask(client, instruction="formal tone", candidates=1)
    assert found["edits"] == []
    assert [each["coherent"] for each in found["tried"]] == [False] * len(WEIGHTS)
    assert (found["steered"], "breaks the text" in found["reason"]) == (None, True)


def test_nothing_is_tried_where_nothing_is_found(client: TestClient) -> None:
    found = ask(client, instruction="!")
    assert (found["edits"], found["tried"]) == ([], [])
    assert "no feature that can be nudged" in found["reason"]


def test_an_answer_that_was_not_steered_as_asked_is_an_error(client: TestClient, engine: Speaking) -> None:
    async def lost(key: str) -> None:
        return None

    engine.report = lost  # type: ignore[method-assign]
    ask(client, status=500, instruction="talk like a pirate")


def test_what_is_out_of_bounds_is_refused(client: TestClient) -> None:
    for body, param in (
        ({}, "instruction"), ({"instruction": ""}, "instruction"),
        ({"instruction": "x", "prompts": ["a"] * 5}, "prompts"), ({"instruction": "x", "model": "adapter"}, "model"),
        ({"instruction": "x", "max_perplexity": 0.5}, "max_perplexity"), ({"instruction": "x", "odd": 1}, "odd"),
    ):  # fmt: skip
        assert ask(client, status=400, **body)["error"]["param"] == param
    too_much = ask(client, status=400, instruction="x", prompts=["a"] * 96, candidates=32, max_tokens=256)["error"]
    assert "answers of up to 256 tokens; at most 200,000 tokens are drawn" in too_much["message"]


def test_a_server_without_an_engine_says_so(client: TestClient) -> None:
    state: Any = client.app.state  # type: ignore[attr-defined]
    state.featurehub = replace(state.featurehub, engine=None)
    assert ask(client, status=501, instruction="x")["error"]["code"] == "steering_unsupported"


def feature(latent: int, strength: float | None = 2.0) -> Feature:
    return Feature(
        id=f"f{latent}", label="x", label_version=1, slug="x", artifact=SAE, latent=latent, density=0.1,
        max_activation=4.0, strength=strength,
    )  # fmt: skip


def test_chance_has_other_features_with_the_same_coefficients(client: TestClient, store: Store) -> None:
    with store.read() as reader:
        chosen: Weights = {reader.resolve("banking"): 0.5, reader.resolve("formal letters"): -0.7}
    deployment = client.app.state.featurehub  # type: ignore[attr-defined]
    drawn = drawn_at_random(chosen, 5, 0, deployment)
    wanted = sorted(weight * (each.strength or 0) for each, weight in chosen.items())
    for each in drawn:
        assert not each.keys() & chosen.keys()
        assert sorted(w * (f.strength or 0) for f, w in each.items()) == pytest.approx(wanted)
    assert len({frozenset(f.latent for f in each) for each in drawn}) > 1


@given(st.lists(st.text(), min_size=10, max_size=96, unique=True))
def test_no_prompt_that_measures_has_chosen(prompts: list[str]) -> None:
    parts = parts_of(prompts)
    assert sorted(each for part in parts for each in part) == sorted(prompts)
    assert len(parts[2]) >= 0.5 * len(prompts)


def test_chance_is_several_draws_of_features_each_with_its_share_of_the_prompts(
    client: TestClient, engine: Speaking
) -> None:
    """What was asked of the engine with edits that no trial had: one answer to each prompt that was held out."""
    asked: list[tuple[Sequence[int], frozenset[int]]] = []
    generate = engine.generate

    async def noted(token_ids: Sequence[int], steering: Steering, **options: Any) -> list[int]:
        asked.append((tuple(token_ids), frozenset(each.latent for each in steering.edits)))
        return await generate(token_ids, steering, **options)

    engine.generate = noted  # type: ignore[method-assign]
    prompts = [f"prompt {n}" for n in range(15)]
    found = ask(client, instruction="talk like a pirate", candidates=1, prompts=prompts)
    [edit] = found["edits"]
    held_out = {ids for ids, _ in asked[-9:]}
    assert len(held_out) == len(parts_of(prompts)[2]) == 9
    assert all(edit["latent"] not in latents for _, latents in asked[-9:])
    assert all(len(latents) == 1 for _, latents in asked[-9:])


@pytest.mark.parametrize(
    ("own", "other", "wanted"),
    [([1, 1, 1], [0, 0, 0], True), ([0, 0], [0, 0], False), ([3, -3, 3, -3], [0, 0, 0, 0], False)],
)
def test_beats(own: list[float], other: list[float], wanted: bool) -> None:
    assert beats(np.array(own, float), np.array(other, float)) is wanted


@pytest.mark.parametrize(
    ("tokens", "share"),
    [([], 0), ([1, 2], 0), ([1, 2, 3, 4], 0), ([1, 1, 1, 1, 1], 2 / 3), ([1, 2, 3, 1, 2, 3], 1 / 4)],
)
def test_repetition(tokens: list[int], share: float) -> None:
    assert repetition(tokens) == pytest.approx(share)


def chats(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"x {text}"}] for text in texts]


LOANS = chats("a loan please", "the loan", "my loan and loan", "loan", "loan loan", "any loan")
OTHERS = chats("the weather", "snowfall", "a cake and tea", "song", "rain", "x")


def test_a_condition_tells_the_examples_from_the_others(client: TestClient) -> None:
    found = ask(client, "autoconditional", condition="when the user wants money", examples=LOANS, others=OTHERS)
    [condition] = found["conditions"]
    assert (condition["label"], condition["op"]) == ("banking: loan, deposit", ">")
    assert condition["value"] == pytest.approx(1.0 / 3.0, abs=1e-3)  # Halfway from 0 to 2, of a largest one of 3.
    assert (found["accuracy"], found["found_in"], found["wrongly_found_in"], found["reason"]) == (1.0, 1.0, 0.0, "")


def test_what_is_found_in_both_alike_is_refused(client: TestClient) -> None:
    found = ask(client, "autoconditional", condition="banking", examples=LOANS, others=LOANS)
    assert found["conditions"] == []
    assert found["accuracy"] == 0.5
    assert found["reason"]


def test_without_examples_the_model_writes_them(client: TestClient, engine: Speaking) -> None:
    found = ask(client, "autoconditional", condition="when the user talks like a pirate")
    assert found["conditions"] == []  # The fake's texts are read as other tokens than it wrote.
    assert found["reason"]


def test_bad_bodies(client: TestClient) -> None:
    for body in ({"condition": "x", "examples": LOANS[:3]}, {}, {"condition": "x", "max_conditions": 9}):
        ask(client, "autoconditional", 400, **body)


@pytest.mark.parametrize(
    ("condition", "subject"),
    [
        ("when the user talks about banking", "banking"), ("If the user is asking about tax law.", "tax law"),
        ("whenever someone mentions dogs", "dogs"), ("banking", "banking"), ("the weather", "the weather"),
        ("when the user", "when the user"),
    ],
)  # fmt: skip
def test_what_a_condition_is_about(condition: str, subject: str) -> None:
    assert subject_of(condition) == subject


VALUES = st.sampled_from((0.0, 0.0, 0.5, 1.0, 3.0))


def naive(x: Any, right: Any, chosen: Any, cut: float) -> float:
    """The share of examples above, and of others at most at the cut, by counting."""
    above = [float(v > cut) for v, r, c in zip(x, right, chosen, strict=True) if c and r]
    below = [float(v <= cut) for v, r, c in zip(x, right, chosen, strict=True) if c and not r]
    return (sum(above) / len(above) + sum(below) / len(below)) / 2


@given(x=arrays(np.float64, (3, 8), elements=VALUES))
def test_thresholds_are_the_best_of_all_and_further_conditions_help(x: Any) -> None:
    right, chosen = np.arange(8) < 4, np.arange(8) % 2 == 0
    own = threshold(feature(1), x[0], right, chosen)
    best = max(naive(x[0], right, chosen, cut) for cut in (0.0, 0.2, 0.6, 0.9, 2.0, 3.0))
    assert naive(x[0], right, chosen, own.value) == pytest.approx(best)
    assert own.found.tolist() == [bool(v > own.value) for v in x[0]]
    known = [(feature(at), each) for at, each in enumerate(x)]
    scores = []
    for most in (1, 2, 3):
        found = combined(known, right, chosen, most)
        holds = np.any([each.found for each in found], axis=0) if found else np.zeros(8, bool)
        scores.append(naive(holds.astype(float), right, chosen, 0.5))
        assert len(found) <= most
    assert scores == sorted(scores)


def test_a_client_that_goes_away_ends_the_work() -> None:
    ended = asyncio.Event()

    class Gone:
        async def is_disconnected(self) -> bool:
            return True

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def run() -> None:
        with patch("api.analysis.together.EVERY", 0.01), pytest.raises(HTTPException):
            await awaited(Gone(), work())  # type: ignore[arg-type]
        await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(run())

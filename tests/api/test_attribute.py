"""``/v1/features/attribute``: on an engine whose log-probabilities are known, so that every effect is, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.analysis.ablation import Candidate, candidates_in
from api.engine import FakeEngine, Tokens
from featurehub.activations import NO_LATENT, ActivationBlock
from featurehub.edits import LARGEST, Steering
from featurehub.features import Mode
from tests.api.conftest import SAE
from tests.api.reports import counts, reading

TEXT = "a loan for my house"
ACTIVE: list[dict[int, float]] = [{3: 90.0}, {2: 3.0}, {2: 1.0, 6: 2.0}, {0: 4.0}]
"""By position, of the tokens before the last."""
WEIGHTS = {2: 0.5, 0: -0.25, 6: 0.125, 3: 10.0}
"""What an activation of 1 adds to the log-probability of each token but ``OTHER``."""
OTHER = sum(b"flat")


@dataclass
class Linear(FakeEngine):
    """An engine in which the log-probability of a token is a weighted sum of all activations that are not ablated.

    lost: whether the edits of the next requests do not run
    """

    lost: bool = False
    rendered: list[bool] = field(default_factory=list)

    def tokens(self, text: Any, *, to_continue: bool = False) -> Tokens:
        self.rendered.append(to_continue)
        return super().tokens(text)

    async def run(self, token_ids: Sequence[int], steering: Steering, **asked: Any) -> Mapping[int, float]:
        value = sum(
            WEIGHTS[latent] * activation
            for at, own in enumerate(ACTIVE[: len(token_ids)])
            for latent, activation in own.items()
            if not is_ablated(steering, latent, at)
        )
        self.logprobs = dict.fromkeys((*token_ids, sum(b"house")), value - 50) | {OTHER: -7.0}
        if steering.edits:
            first, stop = steering.bounds(len(token_ids))
            edited = counts(0 if self.lost else min(stop, len(token_ids)) - first)
            self.reports[steering.report] = {"hooks": {"layers.2.resid_post": edited}, "requests": [0]}
        if steering.reads:
            self.reports[steering.report] = reading(*zip(token_ids, ACTIVE, strict=False))
        return await super().run(token_ids, steering, **asked)


def is_ablated(steering: Steering, latent: int, at: int) -> bool:
    first, stop = steering.bounds(len(ACTIVE))
    return any(edit.latent == latent for edit in steering.edits) and first <= at < stop


@pytest.fixture
def engine() -> FakeEngine:
    return Linear()


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/features/attribute", json=body if "messages" in body else {"text": TEXT} | body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_effects_are_what_ablation_takes_away(client: TestClient) -> None:
    found = ask(client)
    assert (found["position"], len(found["tokens"]), found["active"], found["measured"]) == (4, 4, 3, 3)
    assert found["target"] == {"id": sum(b"house"), "text": f"<{sum(b'house')}>", "logprob": pytest.approx(851.25)}
    rows = [(each["label"], each["effect"], each["score"]) for each in found["features"]]
    assert rows == [
        ("banking: loan, deposit", pytest.approx(2.0), pytest.approx(3 / 3)),
        ("pirate speech: matey, ship", pytest.approx(-1.0), 4.0),
        ("", pytest.approx(0.25), 1.0),
    ]
    parts = [[(t["position"], t["activation"], t["effect"]) for t in each["tokens"]] for each in found["features"]]
    assert parts == [
        [(1, 3.0, pytest.approx(1.5)), (2, 1.0, pytest.approx(0.5))],
        [(3, 4.0, pytest.approx(-1.0))],
        [(2, 2.0, pytest.approx(0.25))],
    ]


def test_what_the_engine_is_asked(client: TestClient, engine: FakeEngine) -> None:
    ask(client, candidates=2, limit=1, tokens=1)
    edits = [(*((e.sae, e.latent, e.mode) for e in s.edits), s.within, s.dose_max) for _, s in engine.ran if s.edits]
    assert edits == [
        ((SAE, 0, Mode.ABLATE), (1, 4), LARGEST), ((SAE, 2, Mode.ABLATE), (1, 4), LARGEST),
        ((SAE, 2, Mode.ABLATE), (1, 2), LARGEST),
    ]  # fmt: skip
    assert all(len(ids) == 4 for ids, _ in engine.ran)
    assert len({steering.report for _, steering in engine.ran if not steering.is_nothing}) == 4


def test_another_token_is_what_it_is_compared_with(client: TestClient) -> None:
    found = ask(client, versus="flat", limit=1)
    assert (found["versus"]["id"], found["versus"]["logprob"]) == (OTHER, -7.0)
    assert found["features"][0]["effect"] == pytest.approx(2.0)


def test_an_earlier_token_is_explained_by_those_before_it(client: TestClient, engine: FakeEngine) -> None:
    found = ask(client, position=2, target="flat")
    assert [each["label"] for each in found["features"]] == ["banking: loan, deposit"]
    assert [len(ids) for ids, _ in engine.ran] == [2] * len(engine.ran)
    assert found["features"][0]["effect"] == 0.0


def test_the_end_of_a_chat_explains_what_would_come_next(client: TestClient, engine: Linear) -> None:
    found = ask(client, messages=[{"role": "user", "content": "a loan for my"}])
    assert (found["position"], engine.rendered) == (4, [True])
    # All tokens are equally likely here: the first of them is the likeliest.
    assert found["target"]["id"] == sum(b"a")
    turns = [{"role": "user", "content": "a loan for"}, {"role": "assistant", "content": "my house"}]
    assert (ask(client, messages=turns)["target"]["id"], engine.rendered) == (sum(b"house"), [True, False])


def test_an_ablation_that_did_not_run_withholds_all(client: TestClient, engine: Linear) -> None:
    engine.lost = True
    assert "ran over no token" in ask(client, 500)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"position": 1}, 400, "position"),
        ({"position": 6}, 400, "position"),
        ({"text": "a"}, 400, "position"),
        ({"target": "two words"}, 400, "target"),
        ({"versus": "house"}, 400, "versus"),
        ({"versus": ""}, 400, "versus"),
        ({"candidates": 257}, 400, "candidates"),
        ({"limit": 100, "tokens": 6}, 400, ""),
        ({"sae": "missing"}, 404, "sae"),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], status: int, param: str) -> None:
    assert (ask(client, status, **body)["error"]["param"] or "").startswith(param)


ROWS = st.lists(st.dictionaries(st.integers(0, 6), st.sampled_from([0.5, 1.0, 2.0, 3.0]), max_size=4), max_size=7)


@given(rows=ROWS, count=st.integers(1, 8))
def test_candidates_are_those_of_the_definition(rows: list[dict[int, float]], count: int) -> None:
    width = max(map(len, rows), default=0)
    latents, values = np.full((len(rows), width), NO_LATENT), np.zeros((len(rows), width))
    for at, own in enumerate(rows):
        latents[at, : len(own)], values[at, : len(own)] = list(own), list(own.values())
    block = ActivationBlock.pack(SAE, np.arange(len(rows)), np.zeros(len(rows), int), latents, values)
    found, active = candidates_in(block, count)
    naive = []
    for latent in sorted({latent for own in rows[1:] for latent in own}):
        at = [(own[latent] / (len(rows) - t), t, own[latent]) for t, own in enumerate(rows) if t and latent in own]
        at.sort(key=lambda each: (-each[0], each[1]))
        naive.append(Candidate(SAE, latent, at[0][0], tuple(t for _, t, _ in at), tuple(a for _, _, a in at)))
    assert active == len(naive)
    assert found == sorted(naive, key=lambda each: (-each.score, each.latent))[:count]

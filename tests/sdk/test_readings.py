"""``client.features.attribute``, ``logits``, ``activations`` and ``client.tokenize``, over a real socket."""

import asyncio
import html.parser
from typing import Any

import numpy as np
import pytest
from openai import BadRequestError

from featurehub import AsyncClient, Client, FeatureNotFound, Variant
from featurehub.sdk import Activations, Attribution, Logits
from tests.api.reports import reading, report
from tests.api.test_activations import totals
from tests.sdk.conftest import SAE

CHAT = [{"role": "user", "content": "my <b>loan</b> please"}, {"role": "assistant", "content": "of course"}]
TOKENS = ((10, {0: 2.0}), (11, {2: 3.0, 0: 1.0}), (12, {5: 4.0}), (13, {}))
FIVE = (*TOKENS, (14, {0: 1.0}))


@pytest.fixture(autouse=True)
def engine(server: Any) -> Any:
    server.engine.logprobs = {7: -0.5, 8: -1.5, sum(b"loan"): -6.0}
    server.engine.default = reports(*FIVE)
    return server.engine


def reports(*tokens: Any, totalled: bool = True) -> dict[str, Any]:
    """A report that accounts for edits and for activations alike: the fake gives it to whatever is asked."""
    found = reading(*tokens) | {"hooks": report(len(tokens))["hooks"]}
    found["activations"]["totals"] = [totals(4) | {"tokens": len(tokens)}] if totalled else []
    return found


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_activations_are_an_array(client: Client) -> None:
    found = client.features.activations(CHAT)
    assert isinstance(found, Activations)
    assert [each.latent for each in found.features] == [0, 2, 5]
    wanted = [[2, 0, 0], [1, 3, 0], [0, 0, 4], [0, 0, 0], [1, 0, 0]]
    assert np.array_equal(found.matrix(), np.array(wanted, np.float32))
    assert found.matrix().dtype == np.float32
    assert [*found.entries()] == [(0, 0, 2.0), (1, 0, 1.0), (1, 1, 3.0), (2, 2, 4.0), (4, 0, 1.0)]
    assert len(found.tokens) == len(found.content) == 5
    shown = found._repr_html_()
    assert Tags(shown).seen == {"table", "tr", "th", "td"}
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown


def test_named_features_are_asked_by_id(client: Client, engine: Any) -> None:
    named = dict.fromkeys((0, 2), 0.0)
    engine.default = reports(*((token, named | {k: v for k, v in own.items() if k in named}) for token, own in FIVE))
    found = client.features.activations(CHAT, features=[client.feature("banking"), "pirate speech"])
    assert [each.latent for each in found.features] == [2, 0]
    assert engine.ran[-1][1].reads[0].latents == (0, 2)
    with pytest.raises(FeatureNotFound) as caught:
        client.features.activations(CHAT, features=["pirat speach"])
    assert caught.value.suggestions == ("pirate speech",)


def test_logits_with_a_variant_and_without(client: Client, engine: Any) -> None:
    found = client.features.logits(CHAT, model=Variant("demo").set("pirate speech", 0.5), top_k=2, tokens=["loan"])
    assert isinstance(found, Logits)
    assert [(each.id, each.logprob) for each in found.tokens] == [(7, -0.5), (8, -1.5), (sum(b"loan"), -6.0)]
    assert found.unsteered == found.tokens
    assert [bool(steering.edits) for _, steering in engine.ran[-4:]] == [True, True, False, False]
    plain = client.features.logits("a text here", top_k=1)
    assert (len(plain.tokens), plain.unsteered) == (1, None)
    heads = [each._repr_html_().count("<th>") for each in (plain, found)]
    assert heads == [2, 3]
    assert "&lt;7&gt;" in plain._repr_html_()


def test_attribution(client: Client, engine: Any) -> None:
    engine.default = reports(*FIVE, totalled=False)
    found = client.features.attribute(CHAT, position=5, target=7, versus="loan", limit=2, tokens=1)
    assert isinstance(found, Attribution)
    assert (found.position, found.target.id, found.active, found.measured) == (5, 7, 3, 3)
    assert found.versus is not None
    assert (found.versus.id, found.versus.logprob) == (sum(b"loan"), -6.0)
    # The fake's log-probabilities are always the same, so that no ablation changes them.
    assert [(each.effect, len(each.tokens)) for each in found.features] == [(0.0, 1)] * 2
    shown = found._repr_html_()
    assert Tags(shown).seen == {"div", "span", "table", "tr", "th", "td"}
    with pytest.raises(BadRequestError):
        client.features.attribute(CHAT, position=1)


def test_tokens(client: Client) -> None:
    found = client.tokenize("a loan")
    assert [each.id for each in found] == [sum(b"a"), sum(b"loan")]
    assert found[1].name == f"<{sum(b'loan')}>"
    assert len(client.tokenize(CHAT)) == 5


def test_the_asynchronous_client_says_the_same(client: Client, running: Any, engine: Any) -> None:
    async def asked() -> tuple[Any, ...]:
        async with AsyncClient(base_url=running.url) as own:
            engine.default = reports(*FIVE)
            activations = await own.features.activations(CHAT)
            logits = await own.features.logits(CHAT, features={"pirate speech": 0.5})
            engine.default = reports(*FIVE, totalled=False)
            attribution = await own.features.attribute(CHAT, position=5, target=7)
            return activations, logits, attribution, await own.tokenize(CHAT)

    activations, logits, attribution, tokens = asyncio.run(asked())
    assert attribution == client.features.attribute(CHAT, position=5, target=7)
    engine.default = reports(*FIVE)
    assert activations == client.features.activations(CHAT)
    assert logits == client.features.logits(CHAT, features={"pirate speech": 0.5})
    assert tokens == client.tokenize(CHAT)
    assert activations.features[0].sae == SAE

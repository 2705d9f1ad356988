"""``client.features.inspect`` and ``contrast`` over a real socket: types, views and errors."""

import asyncio
import html.parser
from typing import Any

import numpy as np
import pytest

from featurehub import AsyncClient, Client, FeatureNotFound
from featurehub.activations import ActivationTotals
from featurehub.sdk import Contrast, Inspection
from tests.api.reports import reading
from tests.sdk.conftest import SAE

CHAT = [{"role": "user", "content": "my <b>loan</b> please"}]
TOKENS = ((10, {0: 2.0}), (11, {2: 3.0, 0: 1.0}), (12, {5: 4.0}))


def totals(**sums: float) -> dict[str, Any]:
    latents, values = np.array([int(n[1:]) for n in sums], "<i4"), np.array([*sums.values()], "<f4")
    ints = {"latents": latents.tobytes(), "counts": np.ones_like(latents).tobytes()}
    return ActivationTotals(sae=SAE, tokens=2, **ints, sums=values.tobytes(), maxima=values.tobytes()).model_dump()


@pytest.fixture(autouse=True)
def report(server: Any) -> None:
    server.engine.default = reading(*TOKENS)
    server.engine.default["activations"]["totals"] = [totals(n2=3.0, n5=4.0)]


def inspect(client: Client) -> Inspection:
    return client.features.inspect(CHAT, top_k=2, by="max")


def test_tokens_and_the_whole(client: Client) -> None:
    found = inspect(client)
    assert [token.content for token in found] == [False, True, True]
    assert [each.label for each in found.tokens[1].top(1)] == ["banking: loan"]
    assert [(each.label, each.max, each.frequency) for each in found.top(1)] == [("<b>bold</b>", 4.0, 0.5)]
    assert len(found) == 3
    assert found.warnings == ()


def test_the_matrix_has_a_row_for_each_token(client: Client) -> None:
    ids, rows = inspect(client).matrix()
    assert len(set(ids)) == 3
    assert [sorted(row, reverse=True) for row in rows] == [[2.0, 0.0, 0.0], [3.0, 1.0, 0.0], [4.0, 0.0, 0.0]]
    pirate = ids.index(client.feature("pirate speech").id)
    assert [row[pirate] for row in rows] == [2.0, 1.0, 0.0]


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_notebooks_show_text_as_text(client: Client) -> None:
    shown, tags = inspect(client)._repr_html_(), Tags()
    tags.feed(shown)
    assert tags.seen == {"div", "span", "table", "tr", "th", "td"}
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "0.60" in shown


def test_contrast_gives_rows_of_both_sides(client: Client) -> None:
    found = client.features.contrast([CHAT], [CHAT], limit=3)
    assert isinstance(found, Contrast)
    assert found.dataset_1 == found.dataset_2 == ()
    assert "<table>" in found._repr_html_()


def test_the_asynchronous_client_says_the_same(client: Client, running: Any) -> None:
    async def asked() -> tuple[Inspection, Contrast]:
        async with AsyncClient(base_url=running.url) as own:
            return await own.features.inspect("a text here"), await own.features.contrast([CHAT], [CHAT])

    inspection, contrast = asyncio.run(asked())
    assert [token.text for token in inspection] == [token.text for token in inspect(client)]
    assert contrast.warnings == ()


def test_a_name_that_no_feature_has_is_our_own_error(client: Client) -> None:
    with pytest.raises(FeatureNotFound) as caught:
        client.features.inspect(CHAT, features=["pirat speach"])
    assert caught.value.suggestions == ("pirate speech",)

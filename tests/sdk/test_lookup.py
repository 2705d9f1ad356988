"""``client.features.lookup``, ``neighbors`` and ``rerank`` over a real socket."""

import asyncio

import pytest

from featurehub import AsyncClient, Client, FeatureList, FeatureNotFound


def labels(found: FeatureList) -> list[str]:
    return [each.label for each in found]


def test_several_features_at_once(client: Client) -> None:
    pirate = client.feature("pirate speech")
    found = client.features.lookup([2, pirate, "formal tone", 150])
    assert labels(found) == ["banking: loan", "pirate speech: matey, ship", "formal tone"]
    assert found.missing == (150,)
    assert "<table>" in found._repr_html_()


def test_an_order_and_what_is_near(client: Client) -> None:
    ranked = client.features.rerank("formal", [client.feature("banking"), "formal tone"])
    assert labels(ranked) == ["formal tone", "banking: loan"]
    assert [bool(each.relevance) for each in ranked] == [True, False]
    assert client.features.neighbors("banking") == client.features.neighbors(["banking", "formal tone"], 3) == []


def test_a_name_that_no_feature_has_is_our_own_error(client: Client) -> None:
    for ask in (client.features.neighbors, lambda name: client.features.lookup([name])):
        with pytest.raises(FeatureNotFound) as caught:
            ask("formul tone")
        assert caught.value.suggestions == ("formal tone",)


def test_the_asynchronous_client_says_the_same(client: Client) -> None:
    async def asked() -> tuple[FeatureList, FeatureList, FeatureList]:
        async with AsyncClient(base_url=client.base_url) as own:
            features = own.features
            return (
                await features.lookup([1]),
                await features.neighbors("banking"),
                await features.rerank("x", "banking"),
            )

    looked_up, near, ranked = asyncio.run(asked())
    assert (labels(looked_up), labels(near), labels(ranked)) == (["formal tone"], [], ["banking: loan"])

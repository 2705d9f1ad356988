"""Groups in the SDK: they are set like features, and searched for beside them."""

import asyncio
from typing import Any

import pytest
from openai import PermissionDeniedError

from featurehub import AsyncClient, Client, FeatureNotFound, Variant
from featurehub.edits import Steering
from featurehub.groups import FeatureGroup
from featurehub.sdk.features import page_of
from featurehub.store import Store
from tests.sdk.conftest import KEY


@pytest.fixture
def group(store: Store) -> FeatureGroup:
    with store.write() as writer:
        return writer.put_group("speech acts", {"formal tone": 1.0, "pirate speech": -0.5}, description="ways to talk")


def ask(client: Client, **options: Any) -> Any:
    return client.chat.completions.create(messages=[{"role": "user", "content": "hello"}], **options)


def test_a_group_and_its_name_are_set_alike(client: Client, server: Any, group: FeatureGroup) -> None:
    seen = []
    found = client.groups.get("speech acts")
    for each in (found, "speech acts", "Speech Acts", group.id):
        applied = ask(client, model=Variant("demo").set(each, 0.5)).featurehub["applied"]
        seen.append([(edit["label"], edit["weight"], edit["group"]) for edit in applied])
        seen.append([*Steering.read(server.echoed[-1].vllm_xargs["featurehub"]).edits])
    assert seen[0] == [("formal tone", 0.5, "speech acts"), ("pirate speech: matey, ship", -0.25, "speech acts")]
    assert seen[::2] == [seen[0]] * 4
    assert seen[1::2] == [seen[1]] * 4
    ask(client, model="demo", features={found: 0.5})
    assert [*Steering.read(server.echoed[-1].vllm_xargs["featurehub"]).edits] == seen[1]


def test_a_variant_knows_a_group_by_its_name(group: FeatureGroup) -> None:
    variant = Variant("demo").set(group, 0.5)
    assert variant.edits.keys() == {group.id}
    assert repr(variant) == "Variant('demo', {speech acts: nudge +0.5})"
    assert variant == Variant.from_json(variant.to_json())
    assert variant.set("speech acts", 0.7).edits.keys() == {"speech acts"}
    assert variant.set([group, "banking"], 0.1).edits.keys() == {group.id, "banking"}
    assert variant.clear(group).edits.keys() == {"banking"}
    assert variant.clear(group).edits.keys() == {"banking"}


def test_search_shows_groups(client: Client, group: FeatureGroup) -> None:
    found = client.features.search("talk")
    assert (found.groups, [each.weight for each in found.groups[0].members]) == ((group,), [1.0, -0.5])
    assert client.features.search("banking").groups == ()
    assert page_of({"data": []}).groups == ()


def test_operators_save_and_remove_them(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATUREHUB_OPERATOR_KEY", raising=False)
    with pytest.raises(PermissionDeniedError):
        client.groups.save("tmp/group", {"banking": 1.0})
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    saved = client.groups.save("tmp/group", {client.feature("banking"): 1.0, "formal tone": 0.5}, "x")
    assert client.groups.get("tmp/group") == saved
    assert saved in client.groups.list()
    client.groups.remove("tmp/group")
    with pytest.raises(FeatureNotFound):
        client.groups.get("tmp/group")
    with pytest.raises(FeatureNotFound) as caught:
        client.groups.save("x", {"bankin": 1.0})
    assert caught.value.suggestions
    with pytest.raises(FeatureNotFound):
        client.groups.remove("nothing like it")


async def listed(url: str) -> tuple[FeatureGroup, ...]:
    async with AsyncClient(base_url=url) as client:
        saved = await client.groups.save("by two", {"banking": 1.0})
        assert await client.groups.get("by two") == saved
        groups = await client.groups.list()
        await client.groups.remove("by two")
        return groups


def test_so_they_do_without_waiting(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    assert "by two" in [each.name for each in asyncio.run(listed(server.url))]

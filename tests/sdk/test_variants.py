"""Variants that a server stores, and conditions and aborts in variants."""

import asyncio
from typing import Any

import pytest
from openai import APIError, NotFoundError, PermissionDeniedError

from featurehub import AsyncClient, Client, Edit, Feature, FeatureNotFound, InvalidEdit, InvalidInput, Variant
from featurehub.conditions import FeatureCondition, FeatureWhen
from featurehub.edits import Steering
from featurehub.errors import VariantNotFound
from featurehub.features import Mode
from featurehub.sdk import variants as paged
from featurehub.store import Store
from tests.api.reports import report
from tests.sdk.conftest import KEY

DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
MESSAGES = [{"role": "user", "content": "hello"}]


def feature(id: str) -> Feature:
    return Feature(
        id=id, label=f"label {id}", label_version=1, slug=id, artifact="a", latent=3, density=0.1, max_activation=2.0
    )


ONE, TWO, THREE = (FeatureCondition(feature=id, value=0.25) for id in ("one", "two", "three"))


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    server.engine.default = report(7, conditions={"layers.2.resid_post": DECIDED}, aborts=DECIDED)


def made() -> Variant:
    variant = Variant("demo").set("pirate speech", 0.5)
    variant.set_when(FeatureCondition(feature="banking", value=0.25) | FeatureCondition(feature="twin", value=0.5), {})
    return variant.set_when(
        FeatureCondition(feature="banking", value=0.25), {"formal tone": -0.25, "bold": Edit(mode=Mode.ABLATE)}
    ).abort_when(FeatureCondition(feature="formal tone", value=0.5, so_far=True), "too formal")


def test_a_feature_is_compared_with_a_share() -> None:
    assert (feature("f_1") > 0.2) == FeatureCondition(feature="f_1", op=">", value=0.2)  # type: ignore[arg-type]
    assert (feature("f_1") < 1) == FeatureCondition(feature="f_1", op="<", value=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"\[0, 1\]"):
        feature("f_1") > 1.5  # noqa: B015
    for other in (feature("f_2"), True, "x", None):
        with pytest.raises(TypeError):
            feature("f_1") > other  # type: ignore[operator]  # noqa: B015


def test_conditions_are_joined() -> None:
    assert ONE & TWO & THREE == FeatureWhen(all=(ONE, TWO, THREE)) == ONE & (TWO & THREE)
    assert ONE | TWO | THREE == FeatureWhen(any=(ONE, TWO, THREE)) == ONE | (TWO | THREE)
    assert FeatureWhen(all=(ONE,)) | TWO == FeatureWhen(any=(ONE, TWO))
    for nested in (lambda: ONE & (TWO | THREE), lambda: (ONE & TWO) | THREE, lambda: (ONE | TWO) & THREE):
        with pytest.raises(InvalidInput, match="nest no deeper"):
            nested()
    with pytest.raises(TypeError, match=r"& and \|"):
        ONE and TWO  # noqa: B018


def test_a_condition_replaces_what_was_set() -> None:
    variant = Variant("m").set("formal", 0.5).set_when(ONE, {"formal": 0.25})
    assert variant.edits == {"formal": Edit(weight=0.25, when=FeatureWhen(all=(ONE,)))}
    assert variant.set("formal", 0.5) == Variant("m").set("formal", 0.5)
    with pytest.raises(InvalidEdit):
        variant.set_when(ONE, {"formal": 0.1, "terse": 2})
    with pytest.raises(InvalidEdit, match="'formal' is not valid"):
        variant.set("formal", 0.5, when={"feature": "x", "value": 7})
    assert variant == Variant("m").set("formal", 0.5)


def test_aborts_add_up_and_each_counts_once() -> None:
    variant = Variant("m").abort_when(ONE, "a").abort_when(ONE & TWO).abort_when(ONE, "a")
    assert [each.name for each in variant.aborts] == ["a", "one, two"]
    assert variant == Variant("m").abort_when(ONE & TWO).abort_when(ONE, "a")
    assert variant != Variant("m").abort_when(ONE, "a")
    assert repr(variant) == "Variant('m', {abort: a, abort: one, two})"
    assert "abort" in variant._repr_html_()
    for wrong in ({"when": {"feature": "x"}}, {"when": ONE, "event": "e" * 201}, {"when": ONE, "positions": "odd"}):
        with pytest.raises(InvalidInput):
            variant.abort_when(**wrong)  # type: ignore[arg-type]
    for n in range(6):
        variant.abort_when(TWO, str(n))
    with pytest.raises(InvalidInput, match="at most 8"):
        variant.abort_when(THREE)
    assert len(variant.aborts) == 8
    assert variant.reset() == Variant("m")


def test_json_keeps_conditions_and_aborts() -> None:
    again = Variant.from_json(made().to_json())
    assert again == made()
    assert again.to_json() == made().to_json()
    assert again.set("formal tone", 0.1).abort_when(ONE) != made()
    with pytest.raises(InvalidInput):
        Variant.from_json('{"model": "m", "aborts": [{"feature": "x"}]}')


def test_a_variant_sends_its_conditions_and_aborts(client: Client, server: Any) -> None:
    variant = made().clear("bold")
    own = {"feature": "banking", "value": 0.75}
    client.chat.completions.create(model=variant, messages=MESSAGES, extra_body={"abort_when": [own]})
    sent = Steering.read(server.echoed[-1].vllm_xargs["featurehub"])
    assert [(edit.latent, edit.when and edit.when.conditions[0].latent) for edit in sent.edits] == [(0, None), (1, 2)]
    assert [(abort.event, abort.when.conditions[0].latent) for abort in sent.aborts] == [
        ("too formal", 1), ("banking", 2),
    ]  # fmt: skip


def test_saved_loaded_listed_and_deleted(client: Client, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = made().clear("bold")
    saved = client.variants.save("pirate-bank", variant, "arr")
    assert client.variants.save("pirate-bank", client.variants.load("pirate-bank"), "arr") == saved
    assert client.variants.load("pirate-bank") == variant
    assert "Variant('demo', {pirate speech: matey, ship: nudge +0.5, formal tone: nudge -0.25 when banking" in repr(
        client.variants.load("pirate-bank")
    )
    second = client.variants.save("pirate-bank", client.variants.load("pirate-bank").set("pirate speech", 0.75))
    monkeypatch.setattr(paged, "PAGE", 1)
    client.variants.save("other", Variant("demo").set(client.feature("banking"), 0.5))
    assert [each.address for each in client.variants.list()] == ["other@1", "pirate-bank@2"]
    assert client.variants.versions("pirate-bank") == (second, saved)
    assert client.variants.get("pirate-bank@1") == saved
    for model, version in (("pirate-bank", 2), ("pirate-bank@1", 1), (saved, 1)):
        answer: Any = client.chat.completions.create(model=model, messages=MESSAGES)
        assert answer.featurehub["variant"] == {"name": "pirate-bank", "version": version}
    assert [each.id for each in client.models.list()] == ["demo", "other", "pirate-bank"]
    client.variants.delete("other")
    client.variants.delete("pirate-bank")
    for call in (client.variants.get, client.variants.load, client.variants.versions, client.variants.delete):
        with pytest.raises(VariantNotFound):
            call("pirate-bank")
    with pytest.raises(FeatureNotFound) as caught:
        client.variants.save("x", Variant("demo").set("bankin", 0.5))
    assert caught.value.suggestions
    monkeypatch.delenv("FEATUREHUB_OPERATOR_KEY")
    with pytest.raises(PermissionDeniedError):
        client.variants.save("x", variant)
    with pytest.raises(NotFoundError):
        client.chat.completions.create(model="unknown", messages=MESSAGES)


def test_it_saves_and_loads_itself(client: Client, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = Variant("demo").set("pirate speech", 0.5).abort_when({"feature": "formal tone", "value": 0.5}, "formal")
    saved = variant.save("by-itself", client, "for a test")
    assert (saved.address, saved.description) == ("by-itself@1", "for a test")
    monkeypatch.setenv("FEATUREHUB_BASE_URL", server.url)
    loaded = Variant.load("by-itself")
    assert loaded == variant == client.variants.load("by-itself") == Variant.load("by-itself", client)
    assert loaded.set("banking", 0.25).save("by-itself").version == 2
    assert not client.is_closed()
    with pytest.raises(VariantNotFound):
        Variant.load("nobody")
    client.variants.delete("by-itself")


def test_a_group_in_a_variant_goes_by_its_name(client: Client, store: Store) -> None:
    with store.write() as writer:
        group = writer.put_group("speech acts", {"formal tone": 1.0, "pirate speech": -0.5})
    client.variants.save("talk", Variant("demo").set(group, 0.5))
    loaded = client.variants.load("talk")
    assert loaded == Variant("demo").set(group, 0.5)
    assert repr(loaded) == "Variant('demo', {speech acts: nudge +0.5})"
    client.variants.delete("talk")


def test_responses_take_variants_too(client: Client, server: Any) -> None:
    variant = Variant("demo").set("pirate speech", 0.5)
    saved = client.variants.save("talk", variant)
    for model in (variant, saved, "talk"):
        answer = client.responses.create(model=model, input="hello", features={"formal tone": 0.25})
        assert [each["weight"] for each in answer.featurehub["applied"]] == [0.5, 0.25]
        *_, last = client.responses.create(model=model, input="hello", features={"formal tone": 0.25}, stream=True)
        assert last.response.featurehub["applied"] == answer.featurehub["applied"]
    server.engine.default = None
    with pytest.raises(APIError, match="no report"):
        list(client.responses.create(model="talk", input="hello", stream=True))
    client.variants.delete("talk")


async def responded(url: str) -> float:
    async with AsyncClient(base_url=url) as client:
        answer = await client.responses.create(model=Variant("demo").set("pirate speech", 0.5), input="hello")
        return answer.featurehub["applied"][0]["weight"]


def test_so_do_asynchronous_ones(server: Any) -> None:
    assert asyncio.run(responded(server.url)) == 0.5


async def calls(url: str) -> list[str]:
    async with AsyncClient(base_url=url) as client:
        saved = await client.variants.save("by-two", made().clear("bold"))
        assert await client.variants.load("by-two") == made().clear("bold")
        assert await client.variants.get("by-two@1") == saved
        assert await client.variants.versions("by-two") == (saved,)
        listed = await client.variants.list()
        await client.variants.delete("by-two")
        return [each.name for each in listed]


def test_so_they_do_without_waiting(server: Any) -> None:
    assert "by-two" in asyncio.run(calls(server.url))

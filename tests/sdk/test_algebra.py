"""Features and groups are combined by operators, and what comes out is set, compared, and saved like one feature."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurehub import AsyncClient, Client, Feature, FeatureGroup, FeatureList, InvalidEdit, InvalidInput, Variant
from featurehub.conditions import FeatureCondition, FeatureWhen, Op
from featurehub.groups import Combinable
from featurehub.sdk.activations import activations_body
from tests.sdk.conftest import KEY


def feature(name: str) -> Feature:
    return Feature(
        id=f"f_{name}", label=name, label_version=1, slug=name, artifact="a", latent=ord(name), density=0.1,
        max_activation=2.0,
    )  # fmt: skip


A, B, C, D = map(feature, "abcd")


def weights(group: Combinable) -> dict[str, float]:
    return {each.label: each.weight for each in group.parts()}


def test_what_the_operators_mean() -> None:
    group = 0.5 * A | -0.25 * B
    assert weights(group) == {"a": 0.5, "b": -0.25}
    assert weights(group | C) == {"a": 0.5, "b": -0.25, "c": 1.0}
    assert weights(A | group) == {"a": 1.0, "b": -0.25}
    assert weights(group & (B | C)) == {"b": -0.25}
    assert weights(0.5 * A + 0.3 * B) == {"a": 0.5, "b": 0.3}
    assert weights(0.5 * A + 0.3 * A) == {"a": 0.8}
    assert weights(0.5 * A - 0.3 * B) == {"a": 0.5, "b": -0.3}
    assert weights(-group * 2) == {"a": -1.0, "b": 0.5}
    assert weights(0.1 * A + 0.2 * A - 0.3 * A + B) == {"b": 1.0}
    assert weights((A | B | C) - B) == {"a": 1.0, "c": 1.0}
    assert not A & B
    for unlike in (lambda: A | "b", lambda: A + 1, lambda: A * B, lambda: A & {"b"}, lambda: A * True):
        with pytest.raises(TypeError):
            unlike()


def test_a_weight_beyond_one_is_refused_with_what_to_write() -> None:
    for beyond in (lambda: A + A, lambda: 2 * A, lambda: (0.7 * A) - (-0.7 * A), lambda: float("nan") * A):
        with pytest.raises(InvalidInput, match=r"'a' would have weight .* 0\.5 \* group"):
            beyond()


@st.composite
def groups(draw: st.DrawFn) -> FeatureGroup:
    found = draw(st.dictionaries(st.sampled_from([A, B, C, D]), st.integers(-4, 4).filter(bool), max_size=4))
    return FeatureGroup(members=tuple((w / 8 * each).parts()[0] for each, w in found.items()))


@given(groups(), groups(), groups())
def test_the_laws_of_the_algebra(x: FeatureGroup, y: FeatureGroup, z: FeatureGroup) -> None:
    """Against plain dictionaries of weights, by hand."""
    own, theirs = weights(x), weights(y)
    assert weights(x | y) == {name: own.get(name, theirs.get(name)) for name in [*own, *theirs]}
    assert weights(x & y) == {name: own[name] for name in own if name in theirs}
    added = {name: own.get(name, 0.0) + theirs.get(name, 0.0) for name in [*own, *theirs]}
    assert weights(x + y) == {name: weight for name, weight in added.items() if weight}
    assert x + y == y + x
    assert (x - y) + y == x
    assert (x | y) | z == x | (y | z)
    assert (x & y) & z == x & (y & z)
    assert x - (x & y) == FeatureGroup(members=tuple(each for each in x if each not in y))
    assert 0.5 * (0.5 * x + 0.5 * y) == 0.25 * x + 0.25 * y
    assert -1 * -x == x


def test_equality_is_equality_and_hashing_agrees() -> None:
    assert A | B == B | A
    assert hash(A | B) == hash(B | A)
    assert A | B != A | 0.5 * B
    assert A | B != A | C
    assert A != A | A
    stored = FeatureGroup(id="g_1", name="both", members=(A | B).members)
    assert stored == FeatureGroup(id="g_1", name="both", members=(A | C).members)
    assert stored not in {A | B, A | C, 1}
    assert len({A | B, B | A, stored, stored}) == 2
    assert stored | A == A | B


def test_a_group_is_a_sequence_of_its_members() -> None:
    group = A | 0.5 * B | C
    assert [each.label for each in group] == ["a", "b", "c"]
    assert (group[1].label, group[1].weight, group[-1].id, len(group)) == ("b", 0.5, "f_c", 3)
    assert group[1:] == 0.5 * B | C
    assert group.pick([2, 0]) == C | A
    assert group[1] | D == 0.5 * B | D
    assert B in group
    assert B | D not in group
    assert repr(group) == "FeatureGroup(a | 0.5 * b | c)"
    with pytest.raises(IndexError):
        group.pick([3])


def test_a_list_is_a_sequence_of_features_and_can_be_combined() -> None:
    found = FeatureList([A, B, C, A])
    assert found[:2] == [A, B]
    assert isinstance(found[:2], FeatureList)
    assert found.pick([2, 0]) == FeatureList([C, A])
    assert (found[0], found.index(C), B in found, len(found)) == (A, 2, True, 4)
    assert found[:2] | C == found & found == A | B | C
    assert found[:2] + found[2:3] == A | B | C
    assert 0.5 * found == 0.5 * A | 0.5 * B | 0.5 * C
    assert found != [A, B]
    assert found != A | B | C
    assert "a" in found._repr_html_()


def test_a_group_is_as_active_as_its_most_active_member() -> None:
    def condition(of: Feature, op: Op = Op.ABOVE) -> FeatureCondition:
        return FeatureCondition(feature=of.id, op=op, value=0.2)

    assert (A > 0.2) == condition(A)
    assert ((A | 0.5 * B) > 0.2) == FeatureWhen(any=(condition(A), condition(B)))
    assert ((A | B) < 0.2) == FeatureWhen(all=(condition(A, Op.BELOW), condition(B, Op.BELOW)))
    assert (FeatureList([A]) > 0.2) == ((A | A) > 0.2) == condition(A)
    assert (((A | B) > 0.2) | (C > 0.2)) == ((A | B | C) > 0.2)
    with pytest.raises(InvalidInput, match="without features"):
        (A & B) > 0.2  # noqa: B015
    with pytest.raises(InvalidInput, match="'a' or 'b'"):
        (A | B) > 2  # noqa: B015


def test_a_group_that_is_not_stored_is_set_by_its_members() -> None:
    variant = Variant("m").set(A | -0.5 * B, 0.5).set([C, A & A], 0.25, mode="pin")
    assert {id: (each.mode.value, each.weight) for id, each in variant.edits.items()} == {
        "f_b": ("nudge", -0.25), "f_c": ("pin", 0.25), "f_a": ("pin", 0.25),
    }  # fmt: skip
    assert variant.clear(B | C).edits.keys() == {"f_a"}
    assert variant.clear(A & B).edits.keys() == {"f_a"}
    assert Variant("m").set((0.5 * A)[0], 0.5) == Variant("m").set(A, 0.25)
    assert Variant("m").set_when((A | B) > 0.2, {C | 0.5 * D: 0.5}).edits["f_d"].weight == 0.25
    assert Variant("m").set(A | B, mode="ablate").edits.keys() == {"f_a", "f_b"}


def test_nothing_is_set_in_silence() -> None:
    variant = Variant("m").set(A, 0.5)
    for empty in (A & B, [], FeatureList(), [A & B], [C, A & B]):
        with pytest.raises(InvalidEdit, match="empty"):
            variant.set(empty, 0.5)
    with pytest.raises(InvalidEdit):
        variant.set(A | B, True)
    assert variant == Variant("m").set(A, 0.5)


def asked(client: Client, server: Any, **options: Any) -> list[tuple[str, float]]:
    answer: Any = client.chat.completions.create(messages=[{"role": "user", "content": "hello"}], **options)
    return [(each["label"], each["weight"]) for each in answer.featurehub["applied"]]


def test_a_server_takes_it_in_every_place(client: Client, server: Any) -> None:
    formal, bank, pirate = client.features.lookup(["formal tone", "banking", "pirate speech"])
    group = formal | -0.5 * bank
    wanted = [("formal tone", 0.5), ("banking: loan", -0.25)]
    assert asked(client, server, model=Variant("demo").set(group, 0.5)) == wanted
    assert asked(client, server, model="demo", features={group: 0.5}) == wanted
    assert asked(client, server, model="demo", features={group: {"mode": "mul", "weight": 0.5}}) == wanted
    for twice in ({group: 0.5, bank: 0.1}, {formal & bank: 0.5}, {formal & bank: 0.5, pirate: 0.5}):
        with pytest.raises(InvalidInput):
            asked(client, server, model="demo", features=twice)
    assert client.features.rerank("bank", group | pirate)[0] == bank
    assert client.features.lookup(group) == [formal, bank]
    for named in (group, [formal, bank]):
        assert activations_body({"features": named, "top_k": 3}) == {"features": [formal.id, bank.id], "top_k": 3}


def test_it_is_saved_as_a_stored_group(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
    found = client.features.lookup(["formal tone", "banking"])
    saved = client.groups.save("two", 0.5 * found[0] - found[1])
    assert weights(client.groups.get("two")) == {"formal tone": 0.5, "banking: loan": -1.0}
    assert (saved.id[:2], saved[0].id) == ("g_", found[0].id)
    client.groups.remove("two")

    async def in_async() -> FeatureGroup:
        async with AsyncClient(base_url=client.base_url) as other:
            listed = await other.features.lookup(["formal tone", "banking"])
            stored = await other.groups.save("all of them", listed)
            await other.groups.remove("all of them")
            return stored

    assert asyncio.run(in_async()) | found == found[0] | found[1]

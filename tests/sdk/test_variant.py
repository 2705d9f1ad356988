"""Variants: setting, clearing, and writing them down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurehub import Edit, Feature, InvalidEdit, InvalidInput, Variant
from featurehub.features import Mode

PIRATE = Feature(
    id="f_1", label="Pirate Speech", label_version=1, slug="pirate-speech", artifact="a", latent=3, density=0.1,
    max_activation=2.0, aliases=("buccaneer",),
)  # fmt: skip


def test_set_replaces_and_clear_removes() -> None:
    variant = Variant("m").set("formal", 0.5).set("formal", -0.25).set(["terse", PIRATE], 0.1, mode="pin")
    assert variant.edits == {
        "formal": Edit(weight=-0.25),
        "terse": Edit(mode=Mode.PIN, weight=0.1),
        "f_1": Edit(mode=Mode.PIN, weight=0.1),
    }
    assert variant.clear("formal").clear([PIRATE, "terse"]).edits == {}
    assert Variant("m").set("formal", 1).reset().edits == {}


@pytest.mark.parametrize("name", ["Pirate Speech", "pirate speech", "pirate-speech", "f_1"])
def test_a_name_and_its_feature_are_one_edit(name: str) -> None:
    assert Variant("m").set(PIRATE, 0.5).set(name, 0.25).edits.keys() == {name}
    assert Variant("m").set(name, 0.25).set(PIRATE, 0.5).edits == {"f_1": Edit(weight=0.5)}
    assert Variant("m").set(PIRATE, 0.5).clear(name).edits == {}
    assert Variant("m").set("buccaneer", 0.25).clear(PIRATE).edits == {}


def test_ablate_needs_no_weight_and_weight_0_is_a_weight() -> None:
    assert Variant("m").set("x", mode="ablate").edits == {"x": Edit(mode=Mode.ABLATE)}
    assert Variant("m").set("x", 0).edits == {"x": Edit(weight=0)}
    with pytest.raises(InvalidEdit, match="no weight"):
        Variant("m").set("x")


@pytest.mark.parametrize("weight", [1.01, -1.01, float("nan"), float("inf"), True, "0.5"])
def test_a_wrong_weight_changes_nothing(weight: float) -> None:
    variant = Variant("m").set("x", 0.5)
    with pytest.raises(InvalidEdit):
        variant.set(["y", "x"], weight)
    assert variant.edits == {"x": Edit(weight=0.5)}


def test_wrong_modes_names_and_numbers_of_edits() -> None:
    variant = Variant("m").set([f"x{each}" for each in range(32)], 0.1)
    for wrong in ({"feature": "y", "weight": 0.1}, {"feature": "x0", "weight": 0.1, "mode": "push"}):
        with pytest.raises(InvalidEdit):
            variant.set(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidEdit):
        Variant("m").set("", 0.1)
    assert len(variant.edits) == 32


def test_clearing_what_is_not_set_changes_nothing() -> None:
    variant = Variant("m").set(PIRATE, 0.5)
    assert variant.clear("pirat").clear(["pirat", "formal"]) == Variant("m").set(PIRATE, 0.5)
    assert variant.clear(PIRATE).clear(PIRATE) == Variant("m")


def test_a_request_takes_a_frozen_snapshot() -> None:
    variant = Variant("m").set("x", 0.5)
    snapshot = variant.snapshot()
    variant.set("x", 0.25).set("y", 1.0)
    assert snapshot.features() == {"x": {"mode": "nudge", "weight": 0.5}}
    variant.edits.clear()
    assert len(variant.edits) == 2


def test_after_json_set_replaces_and_clear_clears() -> None:
    variant = Variant.from_json(Variant("m").set(PIRATE, 0.5).set("x", mode="ablate").to_json())
    assert variant == Variant("m").set("x", mode="ablate").set(PIRATE, 0.5)
    assert variant.set("pirate speech", 0.25).edits == {"x": Edit(mode=Mode.ABLATE), "pirate speech": Edit(weight=0.25)}
    assert variant.clear("pirate speech").clear("x") == Variant("m")


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.floats(-1, 1) | st.none(), max_size=8))
def test_json_keeps_everything(edits: dict[str, float | None]) -> None:
    variant = Variant("m")
    for name, weight in edits.items():
        variant.set(name, weight, mode="ablate" if weight is None else "mul")
    again = Variant.from_json(variant.to_json())
    assert again == variant
    assert again.to_json() == variant.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"model": "m", "unknown": 1}',
        '{"model": "m", "edits": [{"feature": "x", "edit": {"weight": 2}}]}',
        '{"model": "m", "edits": [{"feature": "x", "edit": {}}]}',
    ],
)
def test_json_that_is_no_variant(text: str) -> None:
    with pytest.raises(InvalidInput):
        Variant.from_json(text)


def test_equality_and_looks() -> None:
    one, two = Variant("m").set("x", 0.5).set("<y>", 0.1), Variant("m").set("<y>", 0.1).set("x", 0.5)
    assert one == two
    assert one != two.set("x", 0.6)
    assert one != Variant("n").set("x", 0.5).set("<y>", 0.1)
    assert one != "m"
    assert repr(Variant("m").set(PIRATE, 0.5)) == "Variant('m', {Pirate Speech: nudge +0.5})"
    assert "&lt;y&gt;" in one._repr_html_()
    with pytest.raises(TypeError):
        hash(one)

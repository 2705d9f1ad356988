"""Edits as people write them, and the values that all parts share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from featurehub import errors
from featurehub.errors import FeaturehubError, InvalidEdit
from featurehub.features import Edit, Feature, Mode, State, slugify
from featurehub.parsing import parse_edits
from featurehub.settings import Limits, home
from featurehub.verdicts import DriftReport, FeatureVerdict, worst

LIMITS = Limits()


def feature(**changed: object) -> Feature:
    fields = {
        "id": "f", "label": "banking", "label_version": 1, "slug": "banking", "artifact": "a", "latent": 3,
        "density": 0.1, "max_activation": 2.0,
    }  # fmt: skip
    return Feature.model_validate({**fields, **changed})


@given(st.dictionaries(st.text(min_size=1, max_size=200), st.floats(-1, 1), max_size=32))
def test_weights_within_their_bounds_are_nudges(asked: dict[str, float]) -> None:
    assert parse_edits(asked, LIMITS) == {name: Edit(mode=Mode.NUDGE, weight=weight) for name, weight in asked.items()}


def test_an_object_says_mode_and_weight_and_ablate_needs_none() -> None:
    asked = {"a": {"mode": "pin", "weight": 0.5}, "b": {"mode": "ablate"}, "c": {"weight": 0}, "d": 1}
    assert parse_edits(asked, LIMITS) == {
        "a": Edit(mode=Mode.PIN, weight=0.5),
        "b": Edit(mode=Mode.ABLATE),
        "c": Edit(weight=0.0),
        "d": Edit(weight=1.0),
    }


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), float("-inf"), 1.0001, -2, 10**400, True, "0.5", None, [0.5], {}, {"mode": "pin"},
        {"weight": None}, {"weight": True}, {"weight": "1"}, {"weight": float("nan")}, {"weight": 0.5, "mode": "twist"},
        {"weight": 0.5, "wieght": 0.5}, {"mode": "ablate", "weight": float("nan")}, {1: 2},
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)  # fmt: skip
def test_any_other_value_is_refused_with_the_feature_s_name(value: object) -> None:
    with pytest.raises(InvalidEdit, match="pirate") as refused:
        parse_edits({"pirate": value}, LIMITS)
    assert refused.value.param == "features.pirate"
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("features", [None, [], "pirate", 0.7, [["pirate", 0.7]], True])
def test_features_that_are_no_object_are_refused(features: object) -> None:
    with pytest.raises(InvalidEdit, match="must be an object"):
        parse_edits(features, LIMITS)


def test_too_many_edits_are_refused_with_the_bound() -> None:
    assert len(parse_edits({str(i): 0.1 for i in range(32)}, LIMITS)) == 32
    with pytest.raises(InvalidEdit, match="1000 edits in one request; at most 32"):
        parse_edits({str(i): 0.1 for i in range(1000)}, LIMITS)


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_has_a_length(name: str) -> None:
    with pytest.raises(InvalidEdit, match="1 to 200 characters"):
        parse_edits({name: 0.5}, LIMITS)


@given(st.text(max_size=200))
def test_a_slug_is_made_of_words_and_hyphens_and_is_its_own_slug(text: str) -> None:
    slug = slugify(text)
    assert len(slug) <= 80
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.startswith("-")
    assert not slug.endswith("-")
    assert "--" not in slug
    assert slugify(slug) == slug


def test_slugs_of_words_that_people_write() -> None:
    assert slugify("Crème brûlée: dessert!") == "creme-brulee-dessert"
    assert slugify("漢字") == ""


def test_two_views_of_a_feature_are_one_feature() -> None:
    assert feature() == feature(relevance=0.5, label="other")
    assert len({feature(), feature(relevance=0.5), feature(id="g")}) == 2
    assert feature() != "f"


def test_values_are_frozen_and_know_no_other_keys() -> None:
    with pytest.raises(ValidationError):
        feature().label = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        feature(surprise=1)
    with pytest.raises(ValidationError):
        feature(density=float("nan"))


@given(st.lists(st.sampled_from(State), max_size=6))
def test_the_worst_of_states(states: list[State]) -> None:
    order = [State.STALE, State.SUSPECT, State.UNCHECKED, State.FRESH]
    assert worst(states) is next((state for state in order if state in states), State.FRESH)


@pytest.mark.parametrize(
    ("reads", "steers", "state"),
    [
        (State.FRESH, State.UNCHECKED, State.FRESH),
        (State.FRESH, State.STALE, State.STALE),
        (State.SUSPECT, State.FRESH, State.SUSPECT),
    ],
)
def test_a_feature_is_as_bad_as_its_worse_half(reads: State, steers: State, state: State) -> None:
    assert FeatureVerdict(latent=0, label="x", reads=reads, steers=steers, reason="").state is state


@pytest.mark.parametrize(
    ("state", "code"), [(State.FRESH, 0), (State.SUSPECT, 3), (State.UNCHECKED, 3), (State.STALE, 4)]
)
def test_a_report_has_an_exit_code(state: State, code: int) -> None:
    report = DriftReport(
        id="dr", artifact="a", model="m", fingerprint="f", created="now", state=state, reason="", metrics={}
    )
    assert report.exit_code == code


def test_the_error_tree_is_the_one_that_its_docstring_draws() -> None:
    classes = {name: getattr(errors, name) for name in errors.__all__}
    assert all(issubclass(each, FeaturehubError) for each in classes.values())
    for name in classes:
        assert name in (errors.__doc__ or "")
    codes = [each.code for each in classes.values()]
    assert len(set(codes)) == len(codes)


def test_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREHUB_HOME", "~/somewhere")
    assert home().is_absolute()
    assert home().name == "somewhere"
    monkeypatch.setenv("FEATUREHUB_HOME", "")
    assert home().parts[-2:] == (".cache", "featurehub")

"""What holds for any names."""

import unicodedata
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from featurehub.errors import AmbiguousFeature, ArtifactNotFound, FeatureNotFound, NotFound
from featurehub.names import fold, words_of
from featurehub.store import Scope, Store, Writer
from tests.labels import labeled
from tests.store.undone import undone

names = st.text(min_size=1, max_size=60).filter(lambda name: name.strip() and fold(name))
label_sets = st.lists(names, min_size=1, max_size=6, unique_by=fold)
ours = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ours
@given(labels=label_sets)
def test_every_label_resolves_to_its_feature(lasting: Store, fill, labels: list[str]) -> None:
    with undone(lasting) as writer:
        ids = fill(writer, dict(enumerate(labels)))
        for latent, label in enumerate(labels):
            if not label.lower().startswith("sae:"):
                assert writer.reader.resolve(label).id == ids[latent]
        slugs = [each.slug for each in writer.reader.features("demo")]
        assert len(slugs) == len(set(slugs)) == len(labels)


@ours
@given(labels=label_sets)
def test_searching_a_label_finds_it_with_full_relevance(lasting: Store, fill, labels: list[str]) -> None:
    with undone(lasting) as writer:
        ids = fill(writer, dict(enumerate(labels)))
        for latent, label in enumerate(labels):
            found = {each.id: each.relevance for each in writer.reader.search(label).features}
            assert all(0.0 <= (relevance or 0.0) <= 1.0 for relevance in found.values())
            if words_of(label):
                assert found[ids[latent]] == 1.0


@ours
@given(names=st.lists(names, min_size=1, max_size=5))
def test_former_names_still_resolve(lasting: Store, fill, provenance, names: list[str]) -> None:
    with undone(lasting) as writer:
        [feature] = fill(writer, {7: "first"}).values()
        for name in names:
            writer.put_label(feature, labeled(name), provenance)
        for name in ("first", *names):
            if not name.lower().startswith("sae:"):
                assert writer.reader.resolve(name).id == feature


SAES = "ab"
WORDS = st.sampled_from(
    ["bank", "Bank", "loan", "bank-2", "bänk", "latent-1", "sea: bank", "bank: loan", "bank (loan)"]
)
LABELS = st.dictionaries(st.integers(0, 4), WORDS, min_size=1, max_size=5)
ADDRESSES = st.builds("sae:{}/{}".format, st.sampled_from(["a", "b", "prod", "c", ""]), st.sampled_from("0123x"))
KEYS = st.lists(WORDS | ADDRESSES | st.integers(0, 9).map(str), max_size=8)


def naive_resolve(writer: Writer, key: str, scope: tuple[str, ...]) -> str | type[Exception]:
    """The rules of ``store.lookup`` as they are written, by going through all that there is."""
    features = [each for sae in SAES for each in writer.reader.features(sae * 64)]
    if key.lower().startswith("sae:"):
        name, _, latent = key[4:].rpartition("/")
        owner = {"a": "a" * 64, "b": "b" * 64, "prod": "b" * 64}.get(name)
        if not (name and latent.isdigit()):
            return FeatureNotFound
        if owner is None:
            return ArtifactNotFound
        found = [f.id for f in features if (f.artifact, f.latent) == (owner, int(latent)) and owner in scope]
        return found[0] if found else FeatureNotFound
    features = [each for each in features if each.artifact in scope]
    rows = writer._session.execute(text("SELECT feature_id, name, kind FROM names")).all()
    named = {
        kind: [row.feature_id for row in rows if row.kind in kinds and fold(row.name) == fold(key)]
        for kind, kinds in {"label": ["label"], "head": ["head"], "kept": ["given", "kept"]}.items()
    }
    steps = [
        [each.id for each in features if each.id == key],
        *([each.id for each in features if each.id in named[kind]] for kind in ("label", "head", "kept")),
        [each.id for each in features if each.slug == key.lower()],
    ]
    found = next((step for step in steps if step), [])
    return found[0] if len(found) == 1 else AmbiguousFeature if found else FeatureNotFound


def outcome(writer: Writer, key: str, scope: Scope) -> str | type[Exception]:
    try:
        return writer.reader.resolve(key, scope).id
    except (NotFound, AmbiguousFeature) as error:
        return type(error)


@ours
@given(first=LABELS, then=LABELS, other=LABELS, keys=KEYS, several=st.booleans())
def test_many_keys_mean_what_each_means_alone(
    lasting: Store, fill, provenance, first, then, other, keys: list[str], several: bool
) -> None:
    """With labels, kept names, slugs, ids and addresses, in one SAE and in two."""
    with undone(lasting) as writer:
        ids = fill(writer, first, name="a", id="a" * 64)
        writer.put_labels({ids[each]: (labeled(then[each]), provenance) for each in then.keys() & ids.keys()})
        fill(writer, other, name="b", id="b" * 64)
        writer.put_artifact_alias("b" * 64, "prod")
        scope = writer.reader.scope("a", "b") if several else writer.reader.scope("a")
        keys = [*keys, *ids.values()]
        wanted = {key: naive_resolve(writer, key, scope.saes or ()) for key in keys}
        assert {key: outcome(writer, key, scope) for key in keys} == wanted
        good = {key: one for key, one in wanted.items() if isinstance(one, str)}
        assert {key: each.id for key, each in writer.reader.resolve_many(good, scope).items()} == good
        bad = [key for key, one in wanted.items() if not isinstance(one, str)]
        if bad:
            with pytest.raises((NotFound, AmbiguousFeature)) as caught:
                writer.reader.resolve_many(wanted, scope)
            assert (caught.value.param, type(caught.value)) == (bad[0], wanted[bad[0]])


@ours
@given(key=st.text(max_size=300))
def test_any_key_is_found_or_refused_with_an_error_of_ours(lasting: Store, fill, key: str) -> None:
    with undone(lasting) as writer:
        fill(writer, {1: "banking: loan", 2: "banking: fraud", 3: "pirate"})
        with suppress(NotFound, AmbiguousFeature):
            writer.reader.resolve(key)


@given(name=st.text())
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@given(st.text(st.characters(max_codepoint=127)))
def test_names_of_ascii_are_folded_as_all_others(name: str) -> None:
    """The naive way, which knows no short cut."""
    folded = unicodedata.normalize("NFKC", name.replace("\0", " ")).casefold()
    assert fold(name) == " ".join(unicodedata.normalize("NFKC", folded).split())

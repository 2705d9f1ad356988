"""What holds for any names."""

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurehub.errors import AmbiguousFeature, NotFound
from featurehub.names import fold, head_of, words_of
from featurehub.store import Labeled, Store
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
            writer.put_label(feature, Labeled(label=name), provenance)
        for name in ("first", *names):
            if not name.lower().startswith("sae:"):
                assert writer.reader.resolve(name).id == feature


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


@given(label=names)
def test_a_label_has_a_head(label: str) -> None:
    assert head_of(label)

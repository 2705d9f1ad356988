"""Search: what is found, in which order, and at what cost."""

import pytest

from featurehub.errors import InvalidInput
from featurehub.store import Calibration, Reader, Scope, SearchFilter, Store
from featurehub.store.candidates import MANY
from featurehub.store.search import UNSCORED, UNTESTED, rank
from tests.store.counting import counted


def latents(reader: Reader, query: str, artifact: str | None = None) -> list[int]:
    scope = reader.scope(artifact) if artifact else Scope()
    return [each.latent for each in reader.search(query, scope).features]


def test_relevance_is_graded(store: Store, fill, make_row) -> None:
    labels = {1: "banking: loan", 2: "banking (coin)", 3: "online banking", 4: "bankingcrisis", 5: "weather"}
    with store.write() as writer:
        fill(writer, labels)
        writer.put_features("a" * 64, [*map(make_row, (1, 2, 3, 4)), make_row(5, "the banking hall")])
        found = writer.reader.search("banking").features
        assert [each.latent for each in found] == [1, 2, 3, 4, 5]
        relevance = [each.relevance or 0.0 for each in found]
        assert relevance[0] == 1.0
        assert sorted(set(relevance), reverse=True) == relevance


@pytest.mark.parametrize(("query", "best"), [
    ("talk like a pirate", 1), ("priate", 1), ("PIRATE!", 1), ("bank", 2), ("loan banking", 2), ("piraté", 1),
])  # fmt: skip
def test_best_hit(store: Store, fill, query: str, best: int) -> None:
    with store.write() as writer:
        fill(writer, {1: "pirate: arr", 2: "banking: loan", 3: "sad", 4: "music: note"})
        assert latents(writer.reader, query)[:1] == [best]


def test_steerability_and_label_score_weigh_in(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "pirate: arr", 2: "pirate: ahoy", 3: "pirate: deck"})
        writer.put_calibration(ids[2], Calibration(strength=1.0, dose=0.3, steerability=0.8))
        writer.put_calibration(ids[3], Calibration(strength=1.0, dose=0.3, steerability=-0.1))
        found = writer.reader.search("pirate").features
        assert [each.latent for each in found] == [2, 1, 3]
        assert (found[0].relevance, found[0].label_score, found[0].steerability) == (1.0, 0.9, 0.8)
        assert latents(writer.reader, "") == [2, 1, 3]


def test_what_was_never_steered_counts_as_is_expected_of_it(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "pirate: arr", 2: "pirate: ahoy", 3: "pirate: deck", 4: "pirate: mate"})
        unsteered = Calibration(strength=1.0, dose=0.3, method="dose")
        for latent, expected in ((1, 0.1), (2, 0.9), (4, None)):
            writer.put_calibration(ids[latent], unsteered.model_copy(update={"expected_steerability": expected}))
        writer.put_calibration(ids[3], Calibration(strength=1.0, dose=0.3, steerability=0.6))
        found = writer.reader.search("pirate").features
        assert [each.latent for each in found] == [2, 3, 4, 1]
        assert [each.expected_steerability for each in found] == [0.9, None, None, 0.1]
        assert [each.never_steered for each in found] == [True, False, True, True]


def test_a_name_goes_before_a_word_in_brackets_and_that_before_text(store: Store, fill, make_row) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "computing: excited, engineer", 2: "excited: wow", 3: "weather"})
        writer.put_features("a" * 64, [make_row(1), make_row(2), make_row(3, "so excited now")])
        for latent, steerability in ((1, 0.9), (2, 0.4), (3, 1.0)):
            writer.put_calibration(ids[latent], Calibration(strength=1.0, dose=0.3, steerability=steerability))
        assert latents(writer.reader, "excited") == [2, 1, 3]


def test_features_are_found_by_words_that_no_label_has(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking: loan", 2: "pirate", 3: "weather: rain"})
        writer.put_words(
            "a" * 64, {"cheque": [(1, 3.0), (3, 0.5)], "book": [(3, 3.0)], "parrot": [(2, 1.0), (77, 9.0)]}
        )
        assert latents(writer.reader, "Cheque") == [1, 3]
        assert writer.reader.search("cheque").features[0].relevance == pytest.approx(0.75 * 0.75)
        # The mean over the words that go with anything: others do not count.
        [first, *_] = writer.reader.search("an unheard-of cheque book").features
        assert (first.latent, first.relevance) == (3, pytest.approx(0.375 * (0.5 / 1.5 + 0.75)))
        assert latents(writer.reader, "parrot") == [2]  # latent 77 is no feature
        assert latents(writer.reader, "rain") == [3]
        writer.put_words("a" * 64, {"parrot": [(2, 1.0)]})
        assert latents(writer.reader, "cheque") == []


def test_a_label_with_the_word_goes_before_a_word_alone(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking: loan", 2: "pirate", 3: "weather: rain"})
        writer.put_words("a" * 64, {"pirate": [(3, 50.0)]})
        assert latents(writer.reader, "pirate") == [2, 3]


@pytest.mark.parametrize(("score", "expected"), [(0.9, [3, 2, 1]), (0.2, [2, 3, 1])])
def test_a_word_that_goes_with_a_feature_goes_before_labels_that_tell_little(
    store: Store, fill, score: float, expected: list[int]
) -> None:
    with store.write() as writer:
        fill(writer, {1: "talk: pirate", 2: "ship", 3: "pirate talk"}, score)
        writer.put_words("a" * 64, {"pirate": [(2, 3.0)]})
        assert latents(writer.reader, "pirate") == expected


def test_unmeasured_factors_are_neutral() -> None:
    assert rank(1.0, None, None) == UNSCORED * UNTESTED
    assert rank(1.0, 0.9, 0.1) < rank(1.0, 0.9, None) < rank(1.0, 0.9, 0.9)
    assert rank(1.0, 0.9, -1.0) == rank(1.0, 0.9, 0.0) > 0.0


def test_pages_fit_together(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {latent: f"topic {latent}" for latent in range(25)})
    with store.read() as reader:
        for query in ("", "topic"):
            page, seen = reader.search(query, limit=10), []
            while True:
                seen += [each.id for each in page.features]
                if page.next is None:
                    break
                page = reader.search(query, limit=10, after=page.next)
            assert len(seen) == len(set(seen)) == 25
            assert seen == [each.id for each in reader.search(query, limit=100).features]


def test_search_stays_in_its_artifact(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"}, name="one", id="1" * 64)
        fill(writer, {2: "banking"}, name="two", id="2" * 64)
        assert latents(writer.reader, "banking", artifact="two") == [2]
        assert latents(writer.reader, "bankign", artifact="one") == [1]
        assert latents(writer.reader, "", artifact="one") == [1]
        assert latents(writer.reader, "quiet", artifact="one") == [1]


def test_a_common_word_is_looked_for_in_the_sae_that_is_searched(store: Store, fill, make_row) -> None:
    """More features of another SAE than are ever looked at have the word, in a name and in a text."""
    with store.write() as writer:
        for sae, latents in (("a" * 64, range(MANY + 200)), ("b" * 64, range(3))):
            fill(writer, {latent: f"programming {latent}" for latent in latents}, name=sae[:3], id=sae)
            writer.put_features(sae, [make_row(latent, "songs of the sea") for latent in latents])
    with store.read() as reader:
        for query in ("programming", "songs"):
            found = reader.search(query, reader.scope("b" * 64), limit=MANY)
            assert sorted(each.latent for each in found.features) == [0, 1, 2], query


def test_a_common_word_is_looked_for_among_what_may_be_shown(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {latent: f"programming {latent}" for latent in range(MANY + 200)}, d_sae=2 * MANY)
        for latent in (MANY + 150, MANY + 190):
            writer.put_calibration(ids[latent], Calibration(strength=0.5, dose=0.3, steerability=0.8))
    with store.read() as reader:
        found = reader.search("programming", only=SearchFilter(steerable=True)).features
    assert sorted(each.latent for each in found) == [MANY + 150, MANY + 190]


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE features; --", '" OR 1=1', 'banking" NOT "x', "%", "_", "*", "NEAR(a b)", "key:banking", "{",
        "\x00", "🏴", "AND", "banking*",
    ],
)  # fmt: skip
def test_nothing_in_a_query_is_syntax(store: Store, fill, query: str) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "'; DROP TABLE features; --", 3: "🏴"})
        writer.reader.search(query)
        assert len(writer.reader.features("demo")) == 3


def test_bounds_are_checked(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"})
        for query, limit in (("x" * 201, 20), ("", 0), ("", 10_000)):
            with pytest.raises(InvalidInput):
                writer.reader.search(query, limit=limit)
        with pytest.raises(InvalidInput, match="start again"):
            writer.reader.search("banking", after="f_none")


def test_queries_do_not_grow_with_the_features(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {latent: f"topic number {latent}: words of {latent % 7}" for latent in range(5_000)})
    with store.read() as reader, counted(store) as statements:
        assert latents(reader, "number 777")[0] == 777
        assert len(statements) <= 4
        statements.clear()
        assert len(latents(reader, "")) == 20
        assert len(statements) <= 3
        statements.clear()
        assert reader.resolve("topic number 4321").latent == 4321
        assert len(statements) <= 4
        statements.clear()
        assert len(latents(reader, "topic")) == 20
        assert len(statements) <= 4

"""Artifacts and features: registering, replacing, rolling back."""

from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text

from featurehub.errors import ArtifactNotFound, FeatureNotFound, InvalidInput
from featurehub.store import Calibration, FeatureRow, Store, TokenLogit, Trial, Writer
from featurehub.store.statistics import may_replace
from tests.labels import labeled


def test_error_rolls_everything_back(store: Store, fill) -> None:
    def fail_late() -> None:
        with store.write() as writer:
            fill(writer, {1: "banking"})
            writer.put_alias("f_none", "x")

    with pytest.raises(FeatureNotFound):
        fail_late()
    with store.read() as reader:
        assert reader.artifacts() == []
        assert reader.search("banking").features == ()


def test_reader_sees_one_snapshot(store: Store, fill) -> None:
    with store.read() as reader:
        assert reader.artifacts() == []
        with store.write() as writer:
            fill(writer, {1: "banking"})
        assert reader.artifacts() == []


def test_writers_take_turns(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})

    def relabel(number: int) -> None:
        with store.write() as writer:
            writer.put_label(ids[1], labeled(f"banking {number}"), provenance)

    threads = [Thread(target=relabel, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as reader:
        assert [each.version for each in reader.details(ids[1]).labels] == list(range(1, 10))


def test_the_same_build_again_changes_nothing(store: Store, fill) -> None:
    with store.write() as writer:
        first = fill(writer, {1: "banking: loan", 2: "pirate"})
        before = writer.reader.features("demo-l2")
    with store.write() as writer:
        assert fill(writer, {1: "banking: loan", 2: "pirate"}) == first
        assert writer.reader.latents("demo", [2, 9, 2]) == before[1:]
        assert writer.reader.features("demo-l2") == before


def test_replacing_features_keeps_labels_and_calibration(store: Store, fill, make_row) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate"})
        writer.put_calibration(ids[1], Calibration(strength=4.0, dose=0.4, steerability=0.5))
        writer.put_features("a" * 64, [make_row(1, "other words"), make_row(3)])
        kept = writer.reader.feature(ids[1])
        assert (kept.label, kept.strength, kept.steerability) == ("banking", 4.0, 0.5)
        assert [each.latent for each in writer.reader.features("demo")] == [1, 3]
        assert writer.reader.search("pirate").features == ()
        assert [each.id for each in writer.reader.search("other").features] == [ids[1]]


def test_details_come_back_as_they_went_in(store: Store, fill, make_row) -> None:
    row = FeatureRow(
        latent=5, density=0.25, max_activation=2.5, quantiles={"0.5": 1.0}, contexts=make_row(5).contexts,
        top_tokens=(TokenLogit(token=" loan", logit=1.5),), bottom_tokens=(TokenLogit(token=" sea", logit=-1.0),),
        neighbors=(3, 1),
    )  # fmt: skip
    trial = Trial(strength=3.0, dose=0.3, success=0.7, coherence=0.9)
    calibration = Calibration(strength=3.0, dose=0.3, steerability=0.6, unsteered=0.1, coherence=0.9, curve=(trial,))
    with store.write() as writer:
        fill(writer, {})
        [feature] = writer.put_features("a" * 64, [row])
        writer.put_calibration(feature, calibration)
    with store.read() as reader:
        details = reader.details(feature)
    fields = set(FeatureRow.model_fields) & set(type(details).model_fields)
    assert {name: getattr(details, name) for name in fields} == {name: getattr(row, name) for name in fields}
    assert details.calibration == calibration
    assert (details.feature.label, details.feature.label_version, details.feature.slug) == ("", 0, "latent-5")
    assert details.labels == ()


def test_name_goes_to_the_latest_artifact(store: Store, make_manifest) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest(id="a" * 64), "/first")
        writer.put_artifact(make_manifest(id="b" * 64), "/second")
        reader = writer.reader
        assert (reader.artifact("demo-l2").id, reader.artifact("a").name) == ("b" * 64, f"demo-l2@{'a' * 12}")
        default = reader.default_artifact("m" * 64)
        assert default is not None
        assert default.path == "/second"


def test_each_model_has_one_default(store: Store, make_manifest) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest("one", "1" * 64), "/one")
        writer.put_artifact(make_manifest("two", "2" * 64), "/two")
        writer.put_artifact(make_manifest("other", "3" * 64, model="n" * 64), "/other")
        defaults = {each.name for each in writer.reader.artifacts() if each.is_default}
        assert defaults == {"one", "other"}
        writer.put_artifact(make_manifest("two", "2" * 64), "/two", default=True)
        default = writer.reader.default_artifact("m" * 64)
        assert default is not None
        assert default.name == "two"
        assert writer.reader.default_artifact("unknown") is None


def default_of(writer: Writer, model: str = "m" * 64) -> str | None:
    default = writer.reader.default_artifact(model)
    return default.name if default is not None and default.is_default else None


def test_a_promoted_artifact_replaces_the_default(store: Store, make_manifest) -> None:
    with store.write() as writer:
        for name, id in (("one", "1" * 64), ("two", "2" * 64)):
            writer.put_artifact(make_manifest(name, id), "/nowhere")
        assert writer.promote_artifact("2" * 64) == "1" * 64
        assert writer.promote_artifact("2" * 64) is None
        assert [each.name for each in writer.reader.artifacts() if each.is_default] == ["two"]
        with pytest.raises(ArtifactNotFound):
            writer.promote_artifact("9" * 64)


def test_where_the_default_goes_the_latest_of_the_others_takes_over(store: Store, make_manifest) -> None:
    with store.write() as writer:
        for number in "1234":
            manifest = make_manifest(number, number * 64, model=("m" if number < "4" else "n") * 64)
            later = {"1": 0, "2": 9, "3": 5, "4": 10}[number]
            writer.put_artifact(manifest.model_copy(update={"created": f"2026-01-{later + 1:02}"}), "/nowhere")
        successor = writer.reader.successor("1" * 64)
        assert successor is not None
        assert writer.remove_artifact("1" * 64) == successor.id == "2" * 64
        assert writer.reader.successor("3" * 64) is None
        assert writer.remove_artifact("3" * 64) is None
        assert default_of(writer) == "2"
        assert writer.remove_artifact("2" * 64) is None
        assert (default_of(writer), default_of(writer, "n" * 64)) == (None, "4")


def test_an_artifact_that_moves_to_another_model_is_no_second_default(store: Store, make_manifest) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest("one", "1" * 64), "/nowhere")
        writer.put_artifact(make_manifest("other", "3" * 64, model="n" * 64), "/nowhere")
        writer.put_artifact(make_manifest("one", "1" * 64, model="n" * 64), "/nowhere")
        assert default_of(writer, "n" * 64) == "other"


def test_removing_leaves_nothing(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"})
    with store.write() as writer:
        writer.remove_artifact("a" * 64)
        full_text = ("names_index", "texts_index") if store._engine.dialect.name == "sqlite" else ()
        for table in ("features", "labels", "names", "texts", *full_text):
            assert writer._session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert writer.reader.search("banking").features == ()


def test_features_and_labels_are_counted(store: Store, fill, make_row) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "pirate"})
        writer.put_features("a" * 64, [make_row(latent) for latent in (1, 2, 3)])
        fill(writer, {5: "other"}, name="other", id="b" * 64)
        assert writer.reader.count_features("demo-l2") == (3, 2)


def test_wrong_input_is_named(store: Store, make_manifest, make_row, provenance) -> None:
    with store.write() as writer:
        writer.put_artifact(make_manifest(d_sae=4), Path("/nowhere"))
        with pytest.raises(InvalidInput, match="comes twice"):
            writer.put_features("a" * 64, [make_row(1), make_row(1)])
        with pytest.raises(InvalidInput, match="lies outside"):
            writer.put_features("a" * 64, [make_row(4)])
        with pytest.raises(ArtifactNotFound):
            writer.put_features("b" * 64, [])
        with pytest.raises(ArtifactNotFound):
            writer.remove_artifact("b" * 64)
        with pytest.raises(FeatureNotFound):
            writer.put_label("f_none", labeled("x"), provenance)
        with pytest.raises(FeatureNotFound):
            writer.put_calibration("f_none", Calibration(strength=1.0, dose=0.1))


@pytest.mark.parametrize(("ours", "theirs", "may"), [(16, 16, True), (8, 16, False), (8, 0, True), (0, 8, False)])
def test_a_calibration_is_replaced_by_a_better_founded_one_only(ours: int, theirs: int, may: bool) -> None:
    def founded(answers: int) -> Calibration:
        return Calibration(strength=1.0, dose=0.5, steerability=0.5 if answers else None, answers=answers)

    assert may_replace(founded(ours), founded(theirs)) is may
    assert may_replace(founded(ours), None)

"""Copies of whole databases, between all kinds of them: everything arrives, or nothing; ``test_kills`` kills them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from featurehub.errors import InvalidInput, StoreError
from featurehub.store import Store, copy_store, copying, count_rows, open_store
from tests.store.filled import fill_every_table, report, rows


@pytest.fixture
def source(store: Store) -> Store:
    with store.write() as writer:
        fill_every_table(writer)
    return store


@pytest.fixture
def target(bare: str) -> Iterator[Store]:
    with closing(open_store(bare)) as opened:
        yield opened


def contents(store: Store) -> dict[str, object]:
    """What its readers find."""
    with store.read() as reader:
        ids = [each.id for each in reader.features("demo")]
        return {
            "features": reader.feature_set("demo"), "reports": reader.reports("demo"), "all": reader.artifacts(),
            "evaluations": reader.evaluations("demo"), "details": [reader.details(each) for each in ids],
            "found": [reader.search(words) for words in ("loan", "quiet word", "cheque", "")],
        }  # fmt: skip


def test_everything_arrives_and_the_copy_goes_on(source: Store, target: Store) -> None:
    steps: list[int] = []
    assert copy_store(source, target, steps.append) == count_rows(source) == sum(steps)
    assert contents(target) == contents(source)
    with target.write() as writer:
        writer.put_alias(writer.reader.resolve("pirate").id, "corsair")
        writer.put_report(report("r2"))
        [evaluation] = writer.reader.evaluations("demo")
        writer.put_evaluation(evaluation)
        assert writer.reader.resolve("corsair").latent == 2
        assert [each.id for each in writer.reader.reports("demo")] == ["r2", "r1"]


def test_a_database_that_has_rows_takes_none(source: Store, target: Store, make_manifest) -> None:
    with target.write() as writer:
        writer.put_artifact(make_manifest("other", "b" * 64), "/nowhere")
    with pytest.raises(InvalidInput, match="is not empty"):
        copy_store(source, target, int)
    assert count_rows(target) == 1


def test_one_that_fails_leaves_nothing_and_is_made_again(source: Store, target: Store) -> None:
    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(source, target, fail)
    assert count_rows(target) == 0
    assert copy_store(source, target, int) == count_rows(target)


def test_rows_that_do_not_arrive_are_missed(source: Store, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(connection, table: str, columns, found) -> int:
        return insert(connection, table, columns, [each for each in found if table != "words"])

    insert = copying.insert_rows
    monkeypatch.setattr(copying, "insert_rows", lossy)
    with pytest.raises(StoreError, match="of 1 rows of words, 0 arrived"):
        copy_store(source, target, int)
    assert count_rows(target) == 0


def test_a_backup_is_one_file(source: Store, tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "backup" / "b.db")) as backup:
        copy_store(source, backup, int)
    assert [each.name for each in (tmp_path / "backup").iterdir()] == ["b.db"]
    assert rows(str(tmp_path / "backup" / "b.db"))

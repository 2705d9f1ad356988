"""Writers that are killed at any moment, and what they may leave.

1. What an operation does is done once undisturbed, and the contents of the database are noted between its transactions:
   these are all the states in which anybody may ever find it.
2. It is begun again on a fresh database, in a process of its own. A moment is drawn from the time that it takes: a
   statement, and how long after that. There the process (or the database's server) is killed with signal 9.
3. The database must be in one of those states, and pass its own check. The operation is begun once more, and must end
   in the last of them.
"""

import bisect
import itertools
import mmap
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.pool import Pool

from featurehub.embedding import FakeEmbedder
from featurehub.errors import StoreError
from featurehub.runs import embed
from featurehub.runs.neuronpedia import import_features
from featurehub.store import FeatureSet, copy_store, migrate, open_store, put_named, save_feature_set
from featurehub.store.location import database_at
from featurehub.store.schema import Base
from tests.labels import labeled
from tests.postgres import Server
from tests.store.conftest import PROVENANCE, build_manifest, build_row

__all__ = ["OPERATIONS", "Course", "Kill", "Operation", "copies", "forked", "killed", "observed", "states_hold"]

FEATURES, BATCH = 96, 16
ARTIFACT = "a" * 64
LOST, FAILED = 1, 2
VOLATILE = {
    ("names", "id"), ("texts", "id"), ("labels", "created"), ("embedders", "stamp"), ("artifacts", "created"),
    ("artifacts", "manifest"),
}  # fmt: skip
"""Columns that differ from one run to the next: numbers that a server gave to rows that were undone, and times."""
MIGRATION = """
import sqlalchemy as sa
from alembic import op
from tests.labels import labeled

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None

def upgrade():
    op.add_column("features", sa.Column("color", sa.Text()))
    for table, column in (("features", "slug"), ("names", "kind"), ("artifacts", "path")):
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, type_=sa.String(300), existing_nullable=False)
    op.execute("UPDATE features SET color = 'red'")
"""

Contents = dict[str, list[str]]


class Operation(NamedTuple):
    """Something that writes.

    Attributes:
        name: What it is called.
        prepare: Makes the database that it is done to, at a location.
        run: Does it, or goes on with it, at a location. Its folder is for files that it needs beside the database.
        pieces: Whether it is done in several transactions.
    """

    name: str
    prepare: Callable[[str], object]
    run: Callable[[str, Path], object]
    pieces: bool = False


class Course(NamedTuple):
    """How an operation goes undisturbed.

    Attributes:
        states: What the database holds before it, between its transactions, and after it.
        times: When each of its statements began, and when it ended; seconds since its beginning.
    """

    states: list[Contents]
    times: list[float]


class Kill(NamedTuple):
    """What came of a kill.

    Attributes:
        share: Of the operation's time, where it was killed.
        alive: Whether it was still at work.
        state: The number of the state that it left.
    """

    share: float
    alive: bool
    state: int


def labels(count: int = FEATURES) -> dict[int, Any]:
    return {n: (labeled(f"topic {n % 40}: word {n}", score=0.5), PROVENANCE) for n in range(count)}


def feature_set(labelled: bool = True) -> FeatureSet:
    rows = [build_row(n, f"some text of {n}") for n in range(FEATURES)]
    words = {f"word{n}": [(n, 1.0)] for n in range(50)}
    return FeatureSet(build_manifest(d_sae=FEATURES), Path("/nowhere"), rows, labels() if labelled else {}, {}, words)


def empty(location: str) -> None:
    open_store(location).close()


def unlabelled(location: str) -> None:
    save_feature_set(feature_set(labelled=False), location)


def labelled(location: str) -> None:
    save_feature_set(feature_set(), location)


def register(location: str, _: Path) -> None:
    save_feature_set(feature_set(), location)


def bring_in(location: str, folder: Path) -> None:
    source = '{{"modelId": "m", "layer": "2-x", "index": "{0}", "description": "about {0}", "typeName": "t"}}'
    file = folder / "explanations.jsonl"
    if not file.exists():
        file.write_text("\n".join(source.format(n) for n in range(FEATURES)))
    import_features(file, location)


def label(location: str, _: Path) -> None:
    """A few at a time, as ``featurehub label`` does."""
    every = labels()
    with closing(open_store(location)) as store:
        with store.read() as reader:
            waiting = [each.latent for each in reader.features(ARTIFACT) if not each.label]
        for first in range(0, len(waiting), BATCH):
            with store.write() as writer:
                put_named(writer, ARTIFACT, {n: every[n] for n in waiting[first : first + BATCH]}, {})


def give_vectors(location: str, _: Path) -> None:
    embed.BATCH = BATCH
    with closing(open_store(location)) as store:
        embed.embed_features(store, FakeEmbedder())


def upgrade(location: str, folder: Path) -> None:
    ours, theirs = migrate.FOLDER, folder / "migrations"
    if not theirs.exists():
        (theirs / "versions").mkdir(parents=True)
        for each in [ours / "env.py", *ours.glob("versions/*.py")]:
            (theirs / each.relative_to(ours)).write_text(each.read_text())
        head = ScriptDirectory(str(ours)).get_current_head()
        (theirs / "versions" / "9999_next.py").write_text(MIGRATION.format(head=head))
    migrate.FOLDER = theirs
    try:
        open_store(location).close()
    finally:
        migrate.FOLDER = ours


def move(location: str, folder: Path) -> None:
    """Where it was done before, the database is not empty any more, and is left as it is."""
    source = folder / "source.db"
    if not source.exists():
        labelled(str(source))
    with closing(open_store(source)) as old, closing(open_store(location)) as new:
        with new.read() as reader:
            if reader.artifacts():
                return
        copy_store(old, new, int)


OPERATIONS = (
    Operation("register", empty, register),
    Operation("import", empty, bring_in),
    Operation("label", unlabelled, label, pieces=True),
    Operation("embed", labelled, give_vectors, pieces=True),
    Operation("migrate", labelled, upgrade),
    Operation("move", empty, move),
)


def contents(location: str) -> Contents:
    """What every table holds, whatever its schema, in any order; below its columns."""
    engine = database_at(location).engine
    found: Contents = {}
    with engine.connect() as connection:
        check(connection)
        for table in Base.metadata.tables:
            columns = [each["name"] for each in inspect(connection).get_columns(table)]
            columns = [each for each in columns if (table, each) not in VOLATILE]
            rows = connection.execute(text(f"SELECT {', '.join(columns)} FROM {table}"))
            found[table] = [str(columns), *sorted(map(str, rows))]
    engine.dispose()
    return found


def check(connection: Any) -> None:
    """The file's pages, and the full-text indexes against their tables; on a server both are one."""
    if connection.dialect.name == "sqlite":
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        for index in ("names_index", "texts_index"):
            connection.exec_driver_sql(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)")
        connection.rollback()


def copies(operation: Operation, folder: Path, server: Server | None = None) -> Callable[[], str]:
    """What makes one database after another that the operation is prepared for: a file, or on a server."""
    number = itertools.count()

    def place() -> str:
        return f"{operation.name}_{next(number)}"

    if server is None:
        prepared = folder / f"{place()}.db"
        operation.prepare(str(prepared))
        return lambda: str(shutil.copy(prepared, folder / f"{place()}.db"))
    template = place()
    operation.prepare(server.create(template))
    return lambda: server.create(place(), template)


def observed(operation: Operation, fresh: Callable[[], str], folder: Path) -> Course:
    """Step 1. ``fresh`` makes a prepared database and returns its location."""
    location, times = fresh(), []
    operation.run(fresh(), folder)  # makes its files, and loads what is loaded late
    began = time.perf_counter()
    with listening(Engine, "before_cursor_execute", lambda *_: times.append(time.perf_counter() - began)):
        operation.run(fresh(), folder)
    times.append(time.perf_counter() - began)
    states, looking = [contents(location)], [False]

    def look(*_: object) -> None:
        if not looking[0]:
            looking[0] = True
            if (now := contents(location)) not in states:
                states.append(now)
            looking[0] = False

    with listening(Pool, "checkin", look):
        operation.run(location, folder)
    return Course(states, times)


def killed(
    operation: Operation, course: Course, location: str, folder: Path, chance: random.Random,
    kill: Callable[[int], object] = lambda process: os.kill(process, signal.SIGKILL),
) -> Kill:  # fmt: skip
    """Steps 2 and 3.

    Args:
        operation: What is done.
        course: How it goes undisturbed.
        location: A prepared database.
        folder: The operation's.
        chance: Draws the moment.
        kill: Kills whoever is to be killed, given the process of the operation; the database can be opened after it.
    """
    at = chance.uniform(0.0, course.times[-1])
    statement = bisect.bisect(course.times, at)
    done = mmap.mmap(-1, 8)
    process = forked(lambda: counted(done, lambda: operation.run(location, folder)))
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if int.from_bytes(done[:8], "little") >= statement:
            time.sleep(at - ([0.0, *course.times][statement]))
            break
        time.sleep(0.0002)
    kill(process)
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert ended != FAILED, f"{operation.name}, killed at {at:.3f} s, failed by itself"
    left = contents(location)
    assert left in course.states, f"{operation.name}, killed at {at:.3f} s, left what never was"
    again = os.waitpid(forked(lambda: operation.run(location, folder)), 0)[1]
    assert again == 0, f"{operation.name}, killed at {at:.3f} s, cannot be done again"
    assert contents(location) == course.states[-1], f"{operation.name}, killed at {at:.3f} s, ends otherwise"
    return Kill(at / course.times[-1], ended != 0, course.states.index(left))


def states_hold(operation: Operation, course: Course) -> None:
    """The states are as many as they should be: two of what is done at once."""
    assert len(course.states) > 3 if operation.pieces else len(course.states) == 2


def counted(done: mmap.mmap, work: Callable[[], object]) -> None:
    """Works, and counts statements where another process sees it."""

    def count(*_: object) -> None:
        done[:8] = (int.from_bytes(done[:8], "little") + 1).to_bytes(8, "little")

    with listening(Engine, "before_cursor_execute", count):
        work()


def forked(work: Callable[[], object]) -> int:
    """A process that works. It ends with ``LOST`` where it could not go on, as it should say; else with ``FAILED``."""
    process = os.fork()
    if process == 0:
        code = FAILED
        try:
            work()
            code = 0
        except StoreError:
            code = LOST
        except BaseException:  # noqa: BLE001 (whatever it is, the process ends here)
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


@contextmanager
def listening(target: Any, name: str, hear: Callable[..., object]) -> Iterator[None]:
    event.listen(target, name, hear)
    try:
        yield
    finally:
        event.remove(target, name, hear)

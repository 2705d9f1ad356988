"""Writers and readers that get into each other's way, on each kind of database; a benchmark lets them for longer."""

import os
import signal
import time
from contextlib import closing

import pytest

from featurehub.errors import StoreBusy
from featurehub.store import Store, open_store
from tests.store.crowd import CHANGES, crowd, prepare
from tests.store.killing import forked


def test_nobody_fails_and_everybody_sees_whole_states(store: Store, location: str) -> None:
    prepare(store)
    done = crowd(location, writers=8, readers=16, seconds=2.0)
    assert done["read"] > 0
    assert sum(done[change.__name__] for change in CHANGES) > 0


def test_whoever_writes_waits_and_then_says_what_to_do(store: Store, location: str, fill) -> None:
    with closing(open_store(location)) as other:
        with store.write() as writer:
            fill(writer, {1: "banking"})
            words = r"another process has been writing to the feature database .* for 0 s; wait until"
            with pytest.raises(StoreBusy, match=words), other.write(patience=0.2):
                pytest.fail("two writers at once")
        with other.write(patience=0.2) as writer:
            assert writer.reader.resolve("banking").latent == 1


def test_a_killed_writer_leaves_nothing_and_holds_nothing(store: Store, location: str, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"})
    store.close()  # no connection goes along into another process
    told, tell = os.pipe()

    def hold() -> None:
        with open_store(location).write() as writer:
            writer.remove_artifact("a" * 64)
            os.write(tell, b"w")
            time.sleep(600)

    process = forked(hold)
    assert os.read(told, 1) == b"w"
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    with store.write(patience=60) as writer:
        assert writer.reader.resolve("banking").latent == 1

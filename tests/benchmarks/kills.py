"""Writers of the feature database, and its server, killed at random moments (signal 9).

    python tests/benchmarks/kills.py [--kills 20] [--seed 0] [--only postgresql] [--of label embed]

Every operation of ``tests/store/killing.py`` on both kinds of database: its process is killed, and on PostgreSQL the
server in its place, which is then started anew. After each kill the database must hold what it held between two
transactions, and the operation, begun once more, must end as if it had never been disturbed. Prints for each how often
it was killed while it was at work, at which share of its time, and how many of the states between were seen.
"""

import argparse
import os
import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.machine import processor
from tests.postgres import Server, binaries, running
from tests.store.killing import OPERATIONS, Operation, copies, killed, observed, states_hold

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Victim(NamedTuple):
    """What is killed, on which server (None for a file), and how."""

    name: str
    server: Server | None
    kill: Callable[[int], object]


def kill_process(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@contextmanager
def victims(only: str) -> Iterator[list[Victim]]:
    found = [Victim("sqlite: process", None, kill_process)]
    if only == "sqlite":
        yield found
        return
    programs = binaries()
    assert programs is not None, "there is no PostgreSQL here; --only sqlite"
    with running(programs, **DURABLE) as server:
        found.append(Victim("postgresql: process", server, kill_process))
        found.append(Victim("postgresql: server", server, lambda _: server.kill()))
        yield [each for each in found if only in each.name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--of", nargs="+", default=[each.name for each in OPERATIONS])
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores of {processor()}")
    print("operation  killed               ms  kills  at work  states seen  at % of its time", flush=True)
    with victims(options.only) as found:
        for operation in (each for each in OPERATIONS if each.name in options.of):
            for victim in found:
                print(f"{operation.name:<10} {victim.name:<20} {kill(operation, victim, options)}", flush=True)


def kill(operation: Operation, victim: Victim, options: argparse.Namespace) -> str:
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        operation = operation._replace(name=f"{operation.name}_{victim.name.rpartition(' ')[2]}")
        fresh = copies(operation, folder, victim.server)
        course = observed(operation, fresh, folder)
        states_hold(operation, course)
        kills = [killed(operation, course, fresh(), folder, chance, victim.kill) for _ in range(options.kills)]
    shares = " ".join(f"{100 * each.share:.0f}" for each in sorted(kills))
    seen, working = len({each.state for each in kills}), sum(each.alive for each in kills)
    return f"{1000 * course.times[-1]:5.0f} {len(kills):6} {working:8} {seen:6} of {len(course.states):2}  {shares}"


if __name__ == "__main__":
    main()

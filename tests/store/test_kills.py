"""Whatever writes is killed at random moments, on each kind of database; ``benchmarks/kills.py`` does so more often."""

import random
from pathlib import Path

import pytest

from tests.conftest import DATABASES
from tests.store.killing import OPERATIONS, Operation, copies, killed, observed, states_hold

KILLS = 2


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_it_leaves_what_was_written_and_ends_the_same(
    request: pytest.FixtureRequest, operation: Operation, kind: str, tmp_path: Path
) -> None:
    fresh = copies(operation, tmp_path, None if kind == "sqlite" else request.getfixturevalue("postgres"))
    course, chance = observed(operation, fresh, tmp_path), random.Random(0)
    states_hold(operation, course)
    for _ in range(KILLS):
        killed(operation, course, fresh(), tmp_path, chance)

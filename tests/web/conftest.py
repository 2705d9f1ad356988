"""A really running server with a small database, for tests of the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from featurehub.store import Store, open_store
from tests.browser import running_app
from tests.web.site import fill_site, site_app
from tests.web.steered_site import steered_app


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A database with what ``fill_site`` puts there."""
    folder: Path = tmp_path_factory.mktemp("site")
    store = open_store(folder / "features.db")
    fill_site(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[str]:
    """The address of ``site_app``, without a slash at the end."""
    with running_app(site_app(store)) as address:
        yield address


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    """See ``steered_app``."""
    return steered_app(store)


@pytest.fixture(scope="module")
def steered_site(app: FastAPI) -> Iterator[str]:
    """The address of ``steered_app``."""
    with running_app(app) as address:
        yield address

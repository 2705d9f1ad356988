"""A really running server with a small database, for tests of the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from featurehub.store import open_store
from tests.browser import running_app
from tests.web.site import fill_site, site_app


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``site_app``, without a slash at the end."""
    folder: Path = tmp_path_factory.mktemp("site")
    store = open_store(folder / "features.db")
    fill_site(store)
    with running_app(site_app(store)) as address:
        yield address
    store.close()

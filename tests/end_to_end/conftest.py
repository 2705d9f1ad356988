"""The product, built once for these tests: a smaller build than ``featurehub demo planted`` makes, and its server.

``FEATUREHUB_TEST_DATABASE=postgresql pytest tests/end_to_end`` builds it and serves it on a PostgreSQL.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.demo.planted import PlantedPlan, build_plan, build_planted, planted_database, planted_sae
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model
from featurehub.runs.build import BuildPlan
from featurehub.runs.training import SaeTraining
from featurehub.sdk.client import Client
from saes.recipes import Recipe
from saes.run import TrainConfig
from tests.end_to_end.naive import NaiveReader

KEY = "operators only"
MULTIPROCESSING = "VLLM_ENABLE_V1_MULTIPROCESSING"
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
PREFIX = "/llm"
"""Of a proxy that does not strip it: the server answers with it and without."""


class Built(NamedTuple):
    artifact: Artifact
    database: str


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Built]:
    """SAE, labels and strengths of the planted model. Enough to work with; benchmarks hold the figures."""
    before = os.environ.get("FEATUREHUB_HOME")
    os.environ["FEATUREHUB_HOME"] = str(tmp_path_factory.mktemp("home"))
    database = planted_database()
    if os.environ.get("FEATUREHUB_TEST_DATABASE") == "postgresql":
        database = request.getfixturevalue("postgres").create("built")
    plan = BuildPlan(
        model=bundled_model(),
        out=planted_sae(),
        database=database,
        name="demo-l3",
        layer=3,
        training=SaeTraining(recipes=(Recipe(d_sae=320),), config=TrainConfig(tokens=1_000_000)),
        calibration=build_plan().calibration.model_copy(
            update={"doses": (0.45, 0.65), "names": 24, "candidates_per_name": 3, "answers": 4, "confirm": 6}
        ),
    )
    artifact = build_planted(PlantedPlan(conversations=3000), plan)
    yield Built(artifact, database)
    os.environ.pop("FEATUREHUB_HOME")
    if before is not None:
        os.environ["FEATUREHUB_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def one_process_fewer() -> Iterator[None]:
    """Servers run the model in the engine's own process, as on a single GPU, but for the one in ``test_smollm2``.

    Each starts a quarter sooner, and there is no worker that looks for work all the time for a second after each step.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MULTIPROCESSING, "0")
        yield


@pytest.fixture(scope="session")
def naive(built: Built) -> NaiveReader:
    """The built demo's chats in transformers."""
    return NaiveReader(bundled_model(), built.artifact)


@pytest.fixture(scope="session")
def url(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built demo behind ``featurehub serve --planted``."""
    log: Path = tmp_path_factory.mktemp("log") / "server.log"
    command = ["--planted", "--db", built.database, *TOOLS, "--root-path", PREFIX]
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
            url = stack.enter_context(served(command, free_port(), log))
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(base_url=url, max_retries=0) as client:
        yield client

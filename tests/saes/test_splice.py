"""The SAE spliced into a model, against the definition written out document by document and position by position."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import saes.splice
from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.documents import Document
from saes.host import Host
from saes.splice import Fidelity, measure_splice

D_MODEL, VOCAB = 16, 40
SPECIAL = {0, 1}
POINT = HookPoint(layer=0)
DOCUMENTS = [Document([0, *(2 + (7 * i + 3 * j * j) % 38 for j in range(1 + i % 6)), i % 3], 1) for i in range(11)]


@pytest.fixture(scope="module")
def host() -> Host:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        initializer_range=0.5,
    )  # fmt: skip
    return Host(LlamaForCausalLM(config), POINT)


def naive(host: Host, dictionary: Dictionary, documents: Sequence[Document], special: Collection[int]) -> Fidelity:
    """No batches, no filling, and transformers' own loss; the stream is replaced by a hook of its own."""
    entropies: dict[str, list[float]] = {"model": [], "sae": [], "zero": []}
    divergences: dict[str, list[float]] = {"sae": [], "zero": []}
    for document in documents:
        ids, said = document.token_ids, {}
        for version in entropies:
            said[version] = run(host, dictionary, ids, special, version)
        for i, token in enumerate(ids):
            if token in special or not i:
                continue
            p = said["model"][i].softmax(-1)
            for version, values in divergences.items():
                values.append(float((p * (p.log() - said[version][i].log_softmax(-1))).sum()))
            if i + 1 < len(ids):
                for version, values in entropies.items():
                    values.append(float(torch.nn.functional.cross_entropy(said[version][i], torch.tensor(ids[i + 1]))))
    means = {f"ce_{name}": math.fsum(values) / len(values) for name, values in entropies.items()}
    return Fidelity(**means, **{f"kl_{name}": math.fsum(v) / len(v) for name, v in divergences.items()})


def run(host: Host, dictionary: Dictionary, ids: list[int], special: Collection[int], version: str) -> Tensor:
    def replace(module: Any, inputs: Any, output: Tensor) -> Tensor:
        x = output.clone()
        for i, token in enumerate(ids):
            if version == "zero":
                x[0, i] = 0.0
            elif version == "sae" and i and token not in special:
                x[0, i] = dictionary.decode(dictionary.encode(output[0, i : i + 1]))[0]
        return x

    handle = host.model.model.layers[0].register_forward_hook(replace)
    with torch.no_grad():
        logits = host.model(torch.tensor([ids]), use_cache=False).logits[0]
    handle.remove()
    return logits.double()


@pytest.mark.parametrize("special", [SPECIAL, set()])
@pytest.mark.parametrize("floats", [1, 2000, 1 << 25])
def test_it_is_the_definition_however_documents_are_batched(
    host: Host, dictionary: Dictionary, special: set[int], floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saes.splice, "BATCH_FLOATS", floats)
    sparse = dictionary._replace(threshold=torch.full((24,), 0.2))
    ours, wanted = (each(host, sparse, DOCUMENTS, special) for each in (measure_splice, naive))
    assert ours.model_dump() == pytest.approx(wanted.model_dump(), rel=1e-4)
    assert ours.ce_score == pytest.approx(
        (wanted.ce_zero - wanted.ce_sae) / (wanted.ce_zero - wanted.ce_model), rel=1e-3
    )
    assert ours.kl_score == pytest.approx((wanted.kl_zero - wanted.kl_sae) / wanted.kl_zero, rel=1e-3)
    assert min(wanted.kl_sae, wanted.kl_zero, abs(wanted.ce_sae - wanted.ce_model)) > 0.01


def signed(scale: float) -> Dictionary:
    """Of x, its positive and its negative part: together scale · x."""
    eye = torch.eye(D_MODEL)
    both = torch.cat([eye, -eye])
    return Dictionary(both, scale * both, torch.zeros(2 * D_MODEL), torch.zeros(D_MODEL), torch.zeros(2 * D_MODEL))


def test_an_sae_that_changes_nothing_keeps_everything(host: Host) -> None:
    same = measure_splice(host, signed(1.0), DOCUMENTS, SPECIAL)
    assert same.kl_sae == pytest.approx(0.0, abs=1e-6)
    assert (same.ce_score, same.kl_score) == pytest.approx((1.0, 1.0), abs=1e-5)


def test_what_is_worth_nothing_has_no_score() -> None:
    flat = Fidelity(ce_model=1.0, ce_sae=1.0, ce_zero=1.0, kl_sae=0.0, kl_zero=0.0)
    assert (flat.ce_score, flat.kl_score) == (None, None)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 5000))
def test_batches_hold_every_document_once_and_stay_within_their_bound(lengths: list[int], width: int) -> None:
    documents = [Document([3] * length, 1) for length in lengths]
    made = list(saes.splice.batches(documents, width))
    assert sorted(len(d.token_ids) for batch in made for d in batch) == sorted(lengths)
    for batch in made:
        longest = max(len(document.token_ids) for document in batch)
        assert len(batch) == 1 or len(batch) * longest * width <= saes.splice.BATCH_FLOATS


def test_progress_is_told_of_every_document(host: Host, dictionary: Dictionary) -> None:
    told: list[int] = []
    measure_splice(host, dictionary, DOCUMENTS, SPECIAL, told.append)
    assert sum(told) == len(DOCUMENTS)


def test_text_of_special_tokens_alone_is_refused(host: Host, dictionary: Dictionary) -> None:
    with pytest.raises(InvalidInput, match="no ordinary token"):
        measure_splice(host, dictionary, [Document([0, 1, 0], 1), Document([0, 5], 1)], SPECIAL)

"""SAEs of other projects, read: they encode and decode as those projects say."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saes.formats.imported import ImportedSae
from saes.formats.recognise import read_sae
from tests.saes.written import (
    D_MODEL,
    NORM,
    WRITERS,
    K,
    Written,
    dictionary_learning,
    jump,
    llama_scope,
    qwen_scope,
    sparsify,
    store,
    weights,
    x_of,
)


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return WRITERS[request.param](tmp_path)


def read(written: Written) -> ImportedSae:
    return read_sae(written.path)[1]


def test_what_is_read_encodes_and_decodes_as_its_project_does(written: Written) -> None:
    sae, x = read(written).dictionary, x_of()
    wanted = written.encode(x)
    assert 0.02 < float((wanted > 0).float().mean()) < 0.98
    torch.testing.assert_close(sae.encode(x), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(wanted), written.decode(wanted), rtol=1e-4, atol=1e-3)
    assert all(part is None or (part.dtype is torch.float32 and part.is_contiguous()) for part in sae)


def test_its_files_say_where_it_reads_and_what_it_was_made_for(written: Written) -> None:
    imported = read(written)
    assert (imported.hook, imported.model, imported.k) == (written.hook, written.model, written.k)


def test_the_format_is_told_from_a_file_of_it_as_from_its_folder(written: Written) -> None:
    name, _ = read_sae(written.path)
    files = [written.path] if written.path.is_file() else [p for p in written.path.rglob("*") if p.is_file()]
    assert files
    assert {read_sae(file)[0] for file in files} == {name}


@pytest.mark.parametrize("write", [qwen_scope, sparsify], ids=["Qwen Scope", "sparsify"])
def test_a_topk_sae_gets_its_threshold_from_activations(write: Callable[[Path], Written], tmp_path: Path) -> None:
    imported = read(write(tmp_path))
    assert imported.topk
    a = imported.measured(x_of(1)).encode(x_of(2))
    assert float((a > 0).sum(-1).float().mean()) == pytest.approx(K, rel=0.15)


@pytest.mark.parametrize("dict_class", ["AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_training_never_followed_is_measured(dict_class: str, tmp_path: Path) -> None:
    written = dictionary_learning(tmp_path, dict_class)
    assert not read(written).topk
    tensors = torch.load(written.path / "ae.pt", weights_only=True)
    store(written.path / "ae.pt", {**tensors, "threshold": torch.tensor(-1.0)})
    imported = read(written)
    assert imported.topk
    a = imported.measured(x_of(1)).encode(x_of(2))
    assert float((a > 0).sum(-1).float().mean()) == pytest.approx(K, rel=0.15)


def test_llama_scope_keeps_the_k_largest_counted_with_decoder_norms(tmp_path: Path) -> None:
    written = llama_scope(tmp_path, act_fn="topk", norm_activation="inference")
    imported = read(written)
    w = weights(torch.bfloat16)
    score = torch.relu(x_of() @ w.W_enc.float() + w.b_enc) * w.W_dec.float().norm(dim=-1)
    torch.testing.assert_close(imported.dictionary.encode(x_of()), score, rtol=1e-4, atol=1e-3)
    assert imported.topk


def test_a_bias_that_is_subtracted_before_the_encoder_is_subtracted(tmp_path: Path) -> None:
    w, s = weights(torch.bfloat16), math.sqrt(D_MODEL) / NORM
    sae = read(llama_scope(tmp_path, apply_decoder_bias_to_pre_encoder=True)).dictionary
    z = (s * x_of() - w.b_dec) @ w.W_enc.float() + w.b_enc
    torch.testing.assert_close(sae.encode(x_of()), jump(z / s, 1.5), rtol=1e-4, atol=1e-4)

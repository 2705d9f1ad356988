"""The vocabulary projection against transformers' own ``lm_head(norm(row))``, for every family."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from featurehub.errors import UnsupportedModel
from featurehub.families import ARCHITECTURES, FAMILIES
from labeling.logit_lens import Projection, project
from labeling.unembedding import read_unembedding
from tests.engine.random_models import CASES, D_MODEL, VOCAB, Case, save_model

pytestmark = pytest.mark.transformers

ROWS = torch.randn(300, D_MODEL, generator=torch.Generator().manual_seed(3)) + 0.5
TOKENS = [f"t{at}" for at in range(VOCAB)]
SPECIAL_OPT = [
    {"word_embed_proj_dim": 32},
    {"word_embed_proj_dim": 32, "do_layer_norm_before": False},
    {"layer_norm_elementwise_affine": False},
]


@torch.no_grad()
def logits_of(model: Any, architecture: str) -> np.ndarray:
    """What transformers' modules make of the rows."""
    family = FAMILIES[architecture]
    parent, _, name = family.final_norm.rpartition(".")
    norm = getattr(model.get_submodule(parent), name)
    rows = ROWS if norm is None else norm(ROWS)
    if getattr(getattr(model.model, "decoder", None) if family.project_out else None, "project_out", None) is not None:
        rows = model.model.decoder.project_out(rows)
    return model.get_output_embeddings()(rows).numpy()


def check(folder: Path, wanted: np.ndarray) -> None:
    """All logits of all rows, in the right order."""
    found = read_unembedding(folder)
    projection = project(ROWS.numpy(), found.norm, found.weight, TOKENS, count=VOCAB)
    close = 1e-5 * float(np.abs(wanted).max())
    for ranked, ordered in ((projection.top, -np.sort(-wanted)), (projection.bottom, np.sort(wanted))):
        logits = np.array([[each.logit for each in tokens] for tokens in ranked])
        of_tokens = [[row[int(each.token[1:])] for each in tokens] for tokens, row in zip(ranked, wanted, strict=True)]
        np.testing.assert_allclose(logits, ordered, rtol=0, atol=close)
        np.testing.assert_allclose(logits, of_tokens, rtol=0, atol=close)


def save(architecture: str, folder: Path, **more: Any) -> Any:
    case = CASES[architecture]
    return save_model(Case(case.config, {**case.fields, **more}, case.layers, {}), folder)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_are_read_out_as_transformers_does(architecture: str, tied: bool, tmp_path: Path) -> None:
    model = save(architecture, tmp_path, tie_word_embeddings=tied)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    check(tmp_path, logits_of(model, architecture))


@pytest.mark.parametrize("more", SPECIAL_OPT, ids=str)
def test_opt_projects_its_stream_and_may_have_no_final_norm(more: dict[str, Any], tmp_path: Path) -> None:
    check(tmp_path, logits_of(save("OPTForCausalLM", tmp_path, **more), "OPTForCausalLM"))


def rewrite(folder: Path, rename: Callable[[str], str | None]) -> None:
    """The same checkpoint with other names; tensors that are renamed to None go."""
    tensors = {new: tensor for name, tensor in load_file(folder / "model.safetensors").items() if (new := rename(name))}
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "OPTForCausalLM", "Gemma2ForCausalLM"])
def test_names_without_the_model_before_them_are_known(architecture: str, tmp_path: Path) -> None:
    """As openai-community/gpt2 and facebook's OPT have them; their configurations say nothing of ties."""
    model = save(architecture, tmp_path, tie_word_embeddings=True)
    rewrite(tmp_path, lambda name: name.partition(".")[2])
    config = json.loads((tmp_path / "config.json").read_text())
    del config["tie_word_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    check(tmp_path, logits_of(model, architecture))


@pytest.mark.parametrize(
    "architecture", ["GPT2LMHeadModel", "GPTNeoXForCausalLM", "LlamaForCausalLM", "OPTForCausalLM"]
)
def test_without_a_configuration_the_names_decide(architecture: str, tmp_path: Path) -> None:
    model = save(architecture, tmp_path)
    (tmp_path / "config.json").unlink()
    found = read_unembedding(tmp_path)
    wanted = torch.from_numpy(logits_of(model, architecture))
    torch.testing.assert_close(
        torch.from_numpy(found.norm(ROWS.numpy()) @ found.weight.T), wanted, rtol=1e-3, atol=1e-3
    )


def test_without_a_configuration_a_norm_of_zeros_is_gemmas(tmp_path: Path) -> None:
    embedding = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    save_file(
        {"model.norm.weight": torch.zeros(16), "model.embed_tokens.weight": embedding}, tmp_path / "a.safetensors"
    )
    found = read_unembedding(tmp_path)
    tokens = [f"t{at}" for at in range(50)]
    assert project(embedding[[7]].numpy(), found.norm, found.weight, tokens, count=3).top[0][0].token == "t7"


@pytest.mark.parametrize("lost", ["model.norm.weight", "lm_head.weight"])
def test_a_checkpoint_without_a_tensor_that_reads_out_says_which(lost: str, tmp_path: Path) -> None:
    save("LlamaForCausalLM", tmp_path)
    rewrite(tmp_path, lambda name: None if name == lost else name)
    with pytest.raises(UnsupportedModel, match=lost):
        read_unembedding(tmp_path)


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    save("LlamaForCausalLM", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["MambaForCausalLM"]}))
    with pytest.raises(UnsupportedModel, match="MambaForCausalLM"):
        read_unembedding(tmp_path)


def identity(rows: np.ndarray) -> np.ndarray:
    return rows


def test_padding_of_the_vocabulary_is_left_out_and_a_small_one_listed_whole() -> None:
    projection = project(np.ones((1, 2)), identity, np.array([[1.0, 0], [0, 0.5], [9, 9]]), ["a", "b"], count=5)
    assert [each.token for each in projection.top[0]] == ["a", "b"]
    assert [each.token for each in projection.bottom[0]] == ["b", "a"]


def test_a_row_of_zeros_promotes_nothing() -> None:
    projection: Projection = project(np.array([[0.0, 0.0], [1.0, 0.0]]), identity, np.eye(2), ["a", "b"])
    assert projection.top[0] == projection.bottom[0] == ()
    assert projection.top[1][0].token == "a"

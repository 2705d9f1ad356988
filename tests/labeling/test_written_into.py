"""What is written before an output projection: the checkpoint's tensors say what transformers' own layers add of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES
from labeling.unembedding import written_into
from tests.engine.random_models import CASES, save_model

pytestmark = pytest.mark.transformers

DIFFERENT = (
    "LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM",
    "Olmo2ForCausalLM", "OPTForCausalLM", "CohereForCausalLM",
)  # fmt: skip
NORMS = {"Gemma2ForCausalLM": "feedforward", "Olmo2ForCausalLM": "feedforward"}


def added(model: Any, architecture: str, hook: HookPoint, rows: Tensor) -> Tensor:
    """What the layer's own modules make of rows, beside nothing else."""
    row = FAMILIES[architecture]
    layer = model.get_submodule(row.layers)[hook.layer]
    projection = layer.get_submodule(getattr(row, hook.site))
    made = projection(rows) - projection(torch.zeros_like(rows))
    if architecture in NORMS:
        norm = "post_attention_layernorm" if hook.site is Site.Z else f"post_{NORMS[architecture]}_layernorm"
        made = layer.get_submodule(norm)(made)
    return made


@pytest.mark.parametrize("site", [Site.Z, Site.MLP_ACT])
@pytest.mark.parametrize("architecture", DIFFERENT)
@torch.no_grad()
def test_a_row_is_added_as_the_layers_own_modules_add_it(architecture: str, site: Site, tmp_path: Path) -> None:
    model, hook = save_model(CASES[architecture], tmp_path), HookPoint(layer=1, site=site)
    row = FAMILIES[architecture]
    projection: Any = model.get_submodule(f"{row.layers}.1.{getattr(row, site)}")
    width = projection.nx if row.in_out else projection.in_features
    rows = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    found, wanted = torch.from_numpy(written_into(tmp_path, hook, rows.numpy())), added(model, architecture, hook, rows)
    torch.testing.assert_close(normalize(found), normalize(wanted), rtol=1e-4, atol=1e-4)
    if architecture not in NORMS:
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_where_there_is_no_one_way_into_the_stream(tmp_path: Path) -> None:
    save_model(CASES["MixtralForCausalLM"], tmp_path)
    rows = np.ones((2, 64), np.float32)
    for site in (Site.ATTN_IN, Site.MLP_IN, Site.ROUTER):
        with pytest.raises(UnsupportedModel, match=f"what is written at {site} does not come into the stream"):
            written_into(tmp_path, HookPoint(layer=1, site=site), rows)
    with pytest.raises(UnsupportedModel, match=r"has no tensor model\.layers\.1\.mlp\.down_proj\.weight"):
        written_into(tmp_path, HookPoint(layer=1, site=Site.MLP_ACT), rows)
    for site in (Site.RESID_POST, Site.ATTN_OUT, Site.FINAL_NORM):
        assert written_into(tmp_path, HookPoint(layer=2, site=site), rows) is rows


def test_a_quantized_checkpoint_is_refused(tmp_path: Path) -> None:
    save_model(CASES["LlamaForCausalLM"], tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("{", '{"quantization_config": {"quant_method": "awq"},', 1))
    with pytest.raises(UnsupportedModel, match="is quantized"):
        written_into(tmp_path, HookPoint(layer=1, site=Site.Z), np.ones((2, 64), np.float32))

"""A model that reads images: hooks stand in its language model, and read what transformers' text layers do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, Idefics3Config

from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from labeling.unembedding import read_unembedding
from tests.engine.tiny_models import tiny_config
from tests.engine.world import hooked, unit_dictionary

pytestmark = pytest.mark.engine

PROMPT = [5, 9, 20, 31, 7, 3, 60, 61, 2]
POINTS = [HookPoint(layer=layer, site=site) for layer in (0, 1) for site in (Site.ATTN_OUT, Site.RESID_POST)]
OPTIONS = EngineOptions(max_num_seqs=4, max_model_len=48, skip_tokenizer_init=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A Llama below a reader of images, from before vLLM starts, which patches classes of transformers."""
    folder = tmp_path_factory.mktemp("images")
    torch.manual_seed(0)
    config = tiny_config("Idefics3ForConditionalGeneration")
    made: Any = AutoModelForImageTextToText.from_config(Idefics3Config(**config), attn_implementation="eager")
    made.float().eval().save_pretrained(folder)
    return folder, made


def streams(model: Any, ids: list[int]) -> dict[str, Tensor]:
    """What transformers' text layers give, by hook point."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            seen[name] = (output[0] if isinstance(output, tuple) else output).view(len(ids), -1).clone()

        return module.register_forward_hook(hook)

    layers = model.get_submodule("model.text_model.layers")
    hung = [
        keep(str(point), layers[point.layer].self_attn if point.site is Site.ATTN_OUT else layers[point.layer])
        for point in POINTS
    ]
    with torch.no_grad():
        seen["logits"] = model(input_ids=torch.tensor([ids])).logits[0]
    for each in hung:
        each.remove()
    return seen


def test_streams_of_the_text_tower_are_those_of_transformers(model: tuple[Path, Any], tmp_path: Path) -> None:
    folder, twin = model
    wanted = streams(twin, PROMPT)
    saes = {point: {f"sae{at}": unit_dictionary(at, 64, 32, 0.2)} for at, point in enumerate(POINTS)}
    nudge = Steering(edits=(LatentEdit(sae="sae3", latent=3, mode=Mode.NUDGE, value=300.0),), dose_max=10.0)
    with Engine(folder, hooked(tmp_path, saes), OPTIONS) as engine:
        [captured] = engine.capture([PROMPT], *POINTS)
        greedy = Sampling(temperature=0.0, max_tokens=4)
        plain, steered = (each.token_ids for each in engine.generate([PROMPT] * 2, [Steering(), nudge], greedy))
    beside = torch.cat([wanted[str(point)] for point in POINTS], dim=1)
    torch.testing.assert_close(captured, beside, rtol=1e-3, atol=1e-3)
    assert plain[0] == int(wanted["logits"][-1].argmax())
    assert steered != plain


def test_an_engine_of_its_first_layers_reads_the_same(model: tuple[Path, Any]) -> None:
    folder, twin = model
    with Engine(folder, EngineConfig.capturing(POINTS[1], truncated=True), OPTIONS) as engine:
        assert engine.llm.model_config.hf_text_config.num_hidden_layers == 1
        [captured] = engine.capture([PROMPT])
    torch.testing.assert_close(captured, streams(twin, PROMPT)[str(POINTS[1])], rtol=1e-3, atol=1e-3)


def test_identity_and_read_out_are_those_of_the_text_tower(model: tuple[Path, Any]) -> None:
    folder, twin = model
    identity = identify(folder, POINTS[1])
    assert (identity.d_model, identity.layers) == (64, 3)
    assert identify(folder, POINTS[3]).reads != identity.reads
    x = torch.randn(5, 64)
    with torch.no_grad():
        wanted = twin.lm_head(twin.get_submodule("model.text_model.norm")(x))
    read_out = read_unembedding(folder)
    torch.testing.assert_close(torch.tensor(read_out.norm(x.numpy()) @ read_out.weight.T), wanted, rtol=1e-4, atol=1e-4)

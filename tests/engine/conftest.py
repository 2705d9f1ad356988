"""One real engine for the tests of a module: the bundled model with a random SAE at its hook layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions
from tests.engine.world import make_config

LAYER, D_SAE = 3, 512
PROMPTS = ("tell me something .", "please tell me about banking .", "say a few words about the weather like a pirate .")


@pytest.fixture(scope="session")
def dictionary() -> Dictionary:
    """Unit decoder rows, an encoder that sees them, thresholds that some latents pass."""
    generator = torch.Generator().manual_seed(0)
    W_dec = torch.nn.functional.normalize(torch.randn(D_SAE, 192, generator=generator), dim=-1)
    return Dictionary(
        W_enc=W_dec.clone(),
        W_dec=W_dec,
        b_enc=torch.randn(D_SAE, generator=generator) * 0.1,
        b_dec=torch.randn(192, generator=generator) * 0.1,
        threshold=torch.full((D_SAE,), 0.5),
    )


@pytest.fixture(scope="session")
def artifact(dictionary: Dictionary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sae")
    dictionary.save(folder / "sae.safetensors")
    return folder


@pytest.fixture(scope="session")
def config(artifact: Path) -> EngineConfig:
    sae = SaeConfig(id="test", folder=artifact, d_sae=D_SAE)
    return EngineConfig(hooks=(HookConfig(point=HookPoint(layer=LAYER), saes=(sae,)),))


@pytest.fixture(scope="session")
def world_config(tmp_path_factory: pytest.TempPathFactory) -> EngineConfig:
    """Of ``tests.engine.world``, whose hooks run without vLLM."""
    return make_config(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=[True, False], ids=["eager", "compiled"])
def engine(config: EngineConfig, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Prefix cache on, prompts prefilled in chunks now and then."""
    options = EngineOptions(
        enforce_eager=request.param, enable_prefix_caching=True, max_num_seqs=256, max_num_batched_tokens=512
    )
    with Engine(bundled_model(), config, options) as engine:
        yield engine


@pytest.fixture(scope="module")
def prompts(engine: Engine) -> list[list[int]]:
    template = engine.tokenizer.apply_chat_template
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    return [list(template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]) for chat in chats]

"""A harvest through the real vLLM is what transformers computes, whatever lies beside a text in its batch."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from featurehub.artifacts.files import sha256
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.token_ids import special_ids
from saes.documents import Document
from saes.harvest import Harvest, HarvestConfig, harvest_documents

pytestmark = pytest.mark.engine

SITES = Site.ATTN_IN, Site.Z, Site.RESID_MID, Site.MLP_IN, Site.MLP_OUT
HOOKS = [HookPoint(layer=layer, site=site) for layer in (1, 3) for site in SITES]
CONFIG = HarvestConfig(documents_per_shard=200)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(bundled_model(), EngineConfig.capturing(*HOOKS, truncated=True)) as engine:
        yield engine


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """One that is read in several steps, many of two tokens, many that begin alike, and one many times."""
    draw = random.Random(0)

    def words(count: int) -> list[int]:
        return [draw.randrange(20, 600) for _ in range(count)]

    common, again = words(120), words(30)
    texts = [words(500), *(words(2) for _ in range(40)), *(common + words(5) for _ in range(25)), *[again] * 15]
    return [Document(ids, 1) for ids in draw.sample(texts, len(texts))]


def harvested(engine: Engine, documents: list[Document], folder: Path) -> Harvest:
    model = identify(bundled_model(), HOOKS[-1])
    return harvest_documents(engine, documents, special_ids(engine.tokenizer), folder, model, HOOKS, CONFIG)


def test_every_row_is_the_one_of_transformers(engine: Engine, documents: list[Document], tmp_path: Path) -> None:
    made, model = harvested(engine, documents, tmp_path), AutoModelForCausalLM.from_pretrained(bundled_model())
    seen: dict[str, torch.Tensor] = {}
    for hook in HOOKS:
        layer = model.model.layers[hook.layer]
        module, gives = {
            Site.ATTN_IN: (layer.input_layernorm, True),
            Site.Z: (layer.self_attn.o_proj, False),
            Site.RESID_MID: (layer.post_attention_layernorm, False),
            Site.MLP_IN: (layer.post_attention_layernorm, True),
            Site.MLP_OUT: (layer.mlp, True),
        }[hook.site]
        if gives:
            module.register_forward_hook(lambda _, __, out, name=str(hook): seen.update({name: out}))
        else:
            module.register_forward_pre_hook(lambda _, into, name=str(hook): seen.update({name: into[0]}))
    assert len(made) == 5
    read = 0
    for shard in range(len(made)):
        x, token_ids, document = made.load(shard)
        for number in document.unique().tolist():
            rows = document == number
            assert token_ids[rows].tolist() == documents[number].token_ids[1:]
            with torch.no_grad():
                model(torch.tensor([documents[number].token_ids]))
            expected = torch.cat([seen[str(hook)][0] for hook in HOOKS], dim=-1)
            torch.testing.assert_close(x[rows], expected[1:], rtol=1e-3, atol=1e-3)
            read += int(rows.sum())
    # The first of each is no token that counts.
    assert read == made.record.tokens - len(documents)


def test_a_harvest_that_was_stopped_ends_in_the_same_bytes(
    engine: Engine, documents: list[Document], tmp_path: Path
) -> None:
    whole, stopped = (harvested(engine, documents, tmp_path / name) for name in ("whole", "stopped"))
    for shard in (1, 4):
        stopped.path(shard).unlink()
    stopped.path(3).write_bytes(b"")
    again = harvested(engine, documents, tmp_path / "stopped")
    assert [sha256(again.path(i)) for i in range(5)] == [sha256(whole.path(i)) for i in range(5)]

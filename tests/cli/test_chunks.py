"""A text that training passes once is streamed, one that it passes several times harvested; both give the same SAE."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages
from featurehub.engine.offline import EngineOptions
from featurehub.runs.chunks import HarvestSource, chunks_of
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import identify_hook
from featurehub.runs.material import MaterialConfig, material_of, take_until
from featurehub.runs.progress import SILENT
from featurehub.runs.training import SaeTraining, harvest_and_train, job_of
from saes.documents import Document, count_tokens
from saes.harvest import Harvest, HarvestConfig
from saes.reader import FakeReader
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.stream import Chunks, DocumentChunks, Stream, StreamConfig
from tests.runs.recording import Recording

D_MODEL, SPECIAL, POINT = 6, frozenset({0}), HookPoint(layer=1)
DOCUMENTS = [Document([0, *(1 + (i + 3 * j) % 19 for j in range(9))], 2) for i in range(100)]
STREAM = StreamConfig(buffer_tokens=64, batch_tokens=16)


def training_of(tokens: int, **fields: object) -> SaeTraining:
    config = TrainConfig(tokens=tokens, batch_tokens=16)
    return SaeTraining.model_validate(
        {"config": config, "buffer_tokens": 64, "recipes": [Recipe(d_sae=8, k=2)]}
        | {"harvest": HarvestConfig(documents_per_shard=6)}
        | fields
    )


def reading_of(training: SaeTraining) -> HarvestSource:
    model = identify(bundled_model(), POINT).model_copy(update={"d_model": D_MODEL})
    return HarvestSource(FakeReader(20, D_MODEL), DOCUMENTS, SPECIAL, model, [POINT], training.harvest)


@pytest.mark.parametrize(("tokens", "shards", "once"), [(120, False, True), (600, False, False), (120, True, False)])
def test_the_text_is_streamed_if_it_is_passed_once_and_no_shards_are_to_be_kept(
    tmp_path: Path, tokens: int, shards: bool, once: bool
) -> None:
    training = training_of(tokens, shards=tmp_path / "shards" if shards else None)
    job, reading = job_of(training, D_MODEL, DOCUMENTS, SPECIAL), reading_of(training)
    made = chunks_of(job, reading, tmp_path / "shards", float("inf"), tmp_path / "kept", SILENT)
    assert isinstance(made, DocumentChunks if once else Harvest)
    assert (tmp_path / "shards").exists() is not once
    other = DocumentChunks(reading.reader, DOCUMENTS, SPECIAL, 6)
    assert torch.equal(batches(made), batches(other))


def batches(chunks: Chunks) -> torch.Tensor:
    return torch.cat(list(islice(Stream(chunks, STREAM), 40)))


def test_a_harvest_whose_time_is_over_ends_and_what_it_read_is_trained_on_also_by_a_run_that_goes_on(
    tmp_path: Path,
) -> None:
    training, heard = training_of(1000), Recording()
    job, reading = job_of(training, D_MODEL, DOCUMENTS, SPECIAL), reading_of(training)
    made = chunks_of(job, reading, tmp_path / "shards", 0.0, tmp_path / "kept", heard)
    assert heard.messages == ["read 1 of 17 shards of the text: the time ran short"]
    again = chunks_of(job, reading, tmp_path / "shards", float("inf"), tmp_path / "kept", SILENT)
    assert (len(made), len(again)) == (1, 1)
    first = DocumentChunks(reading.reader, DOCUMENTS[:6], SPECIAL, 6)
    assert torch.equal(batches(made), batches(first))
    assert torch.equal(batches(again), batches(first))


def test_only_ordinary_tokens_count_towards_what_training_passes() -> None:
    """Else special ones would be missing in the end, and the text passed twice."""
    documents = list(take_until(DOCUMENTS, 90, SPECIAL))
    assert (len(documents), count_tokens(documents), count_tokens(documents, SPECIAL)) == (10, 100, 90)
    assert list(take_until(DOCUMENTS, 10**6, SPECIAL)) == DOCUMENTS
    assert list(take_until(DOCUMENTS, 0, SPECIAL)) == []


@pytest.mark.engine
def test_streamed_from_the_real_engine_an_sae_is_the_same_as_from_shards(tmp_path: Path) -> None:
    entries = [messages(conversation) for conversation in islice(conversations(5), 240)]
    streamed = training_of(1, buffer_tokens=512, config=TrainConfig(tokens=2560, batch_tokens=64))
    kept = streamed.model_copy(update={"shards": tmp_path / "shards"})
    identity, hook = identify_hook(bundled_model(), 2)
    with Engines(bundled_model(), EngineOptions(), SILENT).reading(hook) as engine:
        material = material_of(MaterialConfig(), engine, identity, hook, entries, SILENT)
        read, [one], *_ = harvest_and_train(streamed, engine, material, tmp_path / "one", SILENT)
        _, [other], *_ = harvest_and_train(kept, engine, material, tmp_path / "other", SILENT)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["checkpoint.safetensors", "tokens"]
    assert len(read.training) < len(material.training)
    assert list((tmp_path / "shards").glob("shard-*"))
    assert torch.equal(one.dictionary.W_enc, other.dictionary.W_enc)
    assert torch.equal(one.dictionary.threshold, other.dictionary.threshold)

"""A harvest: the stream at a hook point over a whole text, on disk in shards.

1. ``harvest.json`` says what is harvested: the function that the model computes up to the hook point, text, and form
2. one shard for every ``documents_per_shard`` documents, read in one call of the engine, so that a shard's numbers do
   not depend on where a run began
3. a shard is written under another name and renamed: whatever has its name is whole, and a run that is started again
   reads only what is missing
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.artifacts.files import replace_file, write_text
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import BudgetExceeded, CorruptArtifact, InvalidInput
from featurehub.settings import Frozen
from saes.documents import Document, count_tokens, text_hash
from saes.reader import Reader, read_tokens

__all__ = ["Harvest", "HarvestConfig", "harvest_documents", "open_harvest", "token_bytes"]

RECORD = "harvest.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HarvestConfig(Frozen):
    """dtype: in which streams are kept; they are read in float32"""

    documents_per_shard: int = Field(default=512, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class HarvestRecord(Frozen):
    """What a harvest is of. reads: the model's ``ModelIdentity.reads``;  text: sha256 over all token ids"""

    format: Literal[1] = 1
    model: str
    reads: str
    hook: HookPoint
    d_model: int
    text: str
    documents: int
    tokens: int
    config: HarvestConfig


class Shard(NamedTuple):
    """Ordinary tokens of some documents: x [tokens, d_model], token_ids and document [tokens]."""

    x: Tensor
    token_ids: Tensor
    document: Tensor


class Harvest:
    """A harvest's folder. Its shards are the trainer's ``Chunks``."""

    def __init__(self, folder: Path, record: HarvestRecord) -> None:
        self.folder = folder
        self.record = record

    def __len__(self) -> int:
        return -(-self.record.documents // self.record.config.documents_per_shard)

    def path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05}.safetensors"

    @property
    def missing(self) -> list[int]:
        return [shard for shard in range(len(self)) if not self.path(shard).is_file()]

    @property
    def bytes(self) -> int:
        """On disk, of the shards that are there."""
        return sum(path.stat().st_size for path in self.folder.glob("shard-*.safetensors"))

    def load(self, shard: int) -> Shard:
        """Raises CorruptArtifact."""
        try:
            tensors = load_file(self.path(shard))
            return Shard(tensors["x"].float(), tensors["token_ids"], tensors["document"])
        except (SafetensorError, OSError, KeyError) as error:
            raise CorruptArtifact(f"{self.path(shard)} cannot be read: {error}. Harvest it again.") from None

    def read(self, chunk: int) -> Tensor:
        return self.load(chunk).x

    def save(self, shard: int, content: Shard) -> None:
        dtype = DTYPES[self.record.config.dtype]
        with replace_file(self.path(shard)) as temporary:
            save_file(content._replace(x=content.x.to(dtype).contiguous())._asdict(), temporary)


def harvest_documents(
    reader: Reader,
    documents: Sequence[Document],
    special: Collection[int],
    folder: Path,
    model: ModelIdentity,
    hook: HookPoint,
    config: HarvestConfig,
    progress: Callable[[int, Harvest], None] = lambda tokens, harvest: None,
) -> Harvest:
    """Reads what ``folder`` does not hold yet. ``progress`` is called with the tokens of every shard, and the harvest.

    Raises InvalidInput where the folder holds another harvest, BudgetExceeded where the disk is too small.
    """
    result = begin(folder, record_of(documents, model, hook, config))
    check_disk(result)
    size = config.documents_per_shard
    for shard in range(len(result)):
        own = documents[shard * size : (shard + 1) * size]
        if not result.path(shard).is_file():
            result.save(shard, read_shard(reader, own, special, shard * size))
        progress(count_tokens(own), result)
    return result


def read_shard(reader: Reader, documents: Sequence[Document], special: Collection[int], first: int) -> Shard:
    parts = [
        Shard(x[mask], torch.tensor(document.token_ids)[mask], torch.full((int(mask.sum()),), first + i))
        for i, (document, x, mask) in enumerate(read_tokens(reader, documents, special, len(documents)))
    ]
    return Shard(*(torch.cat(column) for column in zip(*parts, strict=True)))


def record_of(
    documents: Sequence[Document], model: ModelIdentity, hook: HookPoint, config: HarvestConfig
) -> HarvestRecord:
    return HarvestRecord(
        model=model.name,
        reads=model.reads,
        hook=hook,
        d_model=model.d_model,
        text=text_hash(documents),
        documents=len(documents),
        tokens=count_tokens(documents),
        config=config,
    )


def begin(folder: Path, record: HarvestRecord) -> Harvest:
    """The harvest in ``folder``, begun or found. Raises InvalidInput."""
    if (folder / RECORD).is_file():
        found = open_harvest(folder)
        differing = [name for name, value in record if value != getattr(found.record, name)]
        if differing:
            raise InvalidInput(
                f"{folder} holds another harvest, of another {', '.join(differing)}; give another folder", param="out"
            )
        for path in folder.glob(".shard-*"):
            path.unlink()
        return found
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    return Harvest(folder, record)


def open_harvest(folder: Path) -> Harvest:
    """Raises InvalidInput, CorruptArtifact."""
    path = folder / RECORD
    if not path.is_file():
        raise InvalidInput(
            f"no harvest in {folder}: {RECORD} is missing. `featurehub harvest` makes one.", param="text"
        )
    try:
        return Harvest(folder, HarvestRecord.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        raise CorruptArtifact(f"{path} is no record of a harvest: {error.errors()[0]['msg']}") from None


def token_bytes(d_model: int, config: HarvestConfig) -> int:
    """Of a token in a shard: its stream, its id and its document."""
    return d_model * DTYPES[config.dtype].itemsize + 16


def check_disk(harvest: Harvest) -> None:
    """Raises BudgetExceeded before anything is read."""
    record, missing = harvest.record, len(harvest.missing)
    needed = record.tokens * token_bytes(record.d_model, record.config) * missing // max(1, len(harvest))
    free = shutil.disk_usage(harvest.folder).free
    if needed > free:
        raise BudgetExceeded(
            f"the harvest needs about {needed / 1e9:.1f} GB in {harvest.folder}, {free / 1e9:.1f} GB are free; "
            "give fewer documents, --dtype bfloat16, or another folder"
        )

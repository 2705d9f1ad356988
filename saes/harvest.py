"""A harvest: the stream at one hook point or several over a whole text, on disk in shards.

1. ``harvest.json`` says what is harvested: the function that the model computes up to the last hook point, text, and
   form
2. one shard for every ``documents_per_shard`` documents, read in one call of the engine, so that a shard's numbers do
   not depend on where a run began; it holds a tensor per hook point, all read in the same pass
3. a shard is written under another name, flushed to the disk and renamed: whatever has its name is whole, and a run
   that is started again reads only what is missing
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.artifacts.files import remove_leftovers, replace_file, write_text
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import BudgetExceeded, CorruptArtifact, InvalidInput
from saes.documents import Document, count_tokens, text_hash
from saes.harvest_record import DTYPES, HarvestConfig, HarvestRecord, token_bytes
from saes.reader import StreamReader, read_tokens

__all__ = ["Harvest", "HarvestConfig", "harvest_documents", "open_harvest", "token_bytes"]

RECORD = "harvest.json"


class Shard(NamedTuple):
    """The ordinary tokens of some documents.

    Attributes:
        x: [tokens, columns] of the stream, hook points side by side.
        token_ids: [tokens] ids.
        document: [tokens] index of each token's document.
    """

    x: Tensor
    token_ids: Tensor
    document: Tensor


class Harvest:
    """A harvest in its folder, which can serve a trainer as its ``Chunks``. Its length is the number of shards.

    Attributes:
        folder: The folder.
        record: What was harvested.
    """

    def __init__(self, folder: Path, record: HarvestRecord) -> None:
        self.folder = folder
        self.record = record

    def __len__(self) -> int:
        return -(-self.record.documents // self.record.documents_per_shard)

    def path(self, shard: int) -> Path:
        """Returns the file of a shard."""
        return self.folder / f"shard-{shard:05}.safetensors"

    @property
    def missing(self) -> list[int]:
        """Indices of the shards that are not on disk yet."""
        return [shard for shard in range(len(self)) if not self.holds(shard)]

    def holds(self, shard: int) -> bool:
        """Returns whether a shard is there in full: a disk may have lost a file or the end of one."""
        try:
            with safe_open(self.path(shard), framework="pt"):
                return True
        except (SafetensorError, OSError):
            return False

    @property
    def bytes(self) -> int:
        """Size on disk of the shards that are there."""
        return sum(path.stat().st_size for path in self.folder.glob("shard-*.safetensors"))

    def load(self, shard: int) -> Shard:
        """Loads a shard, its stream in float32.

        Raises:
            CorruptArtifact: If the shard cannot be read.
        """
        try:
            tensors = load_file(self.path(shard))
            streams = [tensors[str(hook)].float() for hook in self.record.hooks]
            x = streams[0] if len(streams) == 1 else torch.cat(streams, dim=1)
            return Shard(x, tensors["token_ids"], tensors["document"])
        except (SafetensorError, OSError, KeyError) as error:
            raise CorruptArtifact(
                f"{self.path(shard)} cannot be read: {error}. Harvest it again into its folder: whole shards stay."
            ) from None

    def streams(self, chunk: int) -> list[Tensor]:
        """Returns the stream of each document of a shard, [tokens, hooks · d_model]; raises as ``load``."""
        x, _, document = self.load(chunk)
        return list(x.split(document.unique_consecutive(return_counts=True)[1].tolist()))

    def save(self, shard: int, content: Shard) -> None:
        """Writes a shard: under another name at first, so that a file with the shard's name is always whole."""
        streams = content.x.to(DTYPES[self.record.config.dtype]).split(self.record.columns, dim=1)
        tensors = {str(hook): x.contiguous() for hook, x in zip(self.record.hooks, streams, strict=True)}
        with replace_file(self.path(shard)) as temporary:
            save_file(tensors | {"token_ids": content.token_ids, "document": content.document}, temporary)


def harvest_documents(
    reader: StreamReader,
    documents: Sequence[Document],
    special: Collection[int],
    folder: Path,
    model: ModelIdentity,
    hooks: Sequence[HookPoint],
    config: HarvestConfig,
    progress: Callable[[int, Harvest], None] = lambda tokens, harvest: None,
    widths: Sequence[int] = (),
) -> Harvest:
    """Harvests a text into a folder, reading only the shards that it does not hold yet.

    Args:
        reader: Reads the stream.
        documents: The whole text.
        special: Ids of special tokens, whose stream is not kept.
        folder: A new folder, or that of the same harvest.
        model: Identity of the model, as seen from the last hook point.
        hooks: Hook points, in the order in which a token passes them.
        config: How the harvest is laid out.
        progress: Called after each shard, read now or found, with its number of tokens and the harvest.
        widths: Numbers of a token at each hook point; d_model at each by default.

    Raises:
        InvalidInput: If the folder holds another harvest.
        CorruptArtifact: If the folder's record cannot be read.
        BudgetExceeded: If the disk is too small; nothing is read then.
    """
    record = record_of(documents, model, hooks, config, widths)
    result, size = begin(folder, record), record.documents_per_shard
    check_disk(result)
    for shard in range(len(result)):
        own = documents[shard * size : (shard + 1) * size]
        if not result.holds(shard):
            result.save(shard, read_shard(reader, own, special, shard * size, hooks))
        progress(count_tokens(own), result)
    return result


def read_shard(
    reader: StreamReader,
    documents: Sequence[Document],
    special: Collection[int],
    first: int,
    hooks: Sequence[HookPoint],
) -> Shard:
    parts = [
        Shard(x[mask], torch.tensor(document.token_ids)[mask], torch.full((int(mask.sum()),), first + i))
        for i, (document, x, mask) in enumerate(read_tokens(reader, documents, special, len(documents), hooks))
    ]
    return Shard(*(torch.cat(column) for column in zip(*parts, strict=True)))


def record_of(
    documents: Sequence[Document],
    model: ModelIdentity,
    hooks: Sequence[HookPoint],
    config: HarvestConfig,
    widths: Sequence[int],
) -> HarvestRecord:
    return HarvestRecord(
        model=model.name,
        reads=model.stream,
        hooks=tuple(hooks),
        d_model=model.d_model,
        widths=tuple(widths) if set(widths) - {model.d_model} else (),
        text=text_hash(documents),
        documents=len(documents),
        tokens=count_tokens(documents),
        config=config,
    )


def begin(folder: Path, record: HarvestRecord) -> Harvest:
    """Returns the harvest in ``folder``, begun or found; raises InvalidInput if another one is there."""
    if (folder / RECORD).is_file():
        found = open_harvest(folder)
        differing = [name for name, value in record if value != getattr(found.record, name)]
        if differing:
            raise InvalidInput(
                f"{folder} holds another harvest, of another {', '.join(differing)}; give another folder", param="out"
            )
        remove_leftovers(folder, "shard-*.safetensors")
        return found
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    return Harvest(folder, record)


def open_harvest(folder: Path) -> Harvest:
    """Opens the harvest in a folder, which may be incomplete.

    Raises:
        InvalidInput: If there is no harvest.
        CorruptArtifact: If its record cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InvalidInput(
            f"no harvest in {folder}: {RECORD} is missing. `featurehub harvest` makes one.", param="text"
        )
    try:
        return Harvest(folder, HarvestRecord.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        why = error.errors()[0]
        raise CorruptArtifact(
            f"{path} is no record of a harvest of format 3 ({'.'.join(map(str, why['loc']))}: {why['msg']}); "
            "harvest again, into another folder"
        ) from None


def check_disk(harvest: Harvest) -> None:
    """Raises BudgetExceeded if the missing shards do not fit on the disk."""
    record, missing = harvest.record, len(harvest.missing)
    width = token_bytes(sum(record.columns), record.config)
    needed = record.tokens * width * missing // max(1, len(harvest))
    free = shutil.disk_usage(harvest.folder).free
    if needed > free:
        raise BudgetExceeded(
            f"the harvest needs about {needed / 1e9:.1f} GB in {harvest.folder}, {free / 1e9:.1f} GB are free; "
            "give fewer documents, --dtype bfloat16, or another folder"
        )

"""A transcoder as an asset: a folder of its weights, ``transcoder.safetensors``, and the rest, ``transcoder.json``."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from featurehub.artifacts.files import replace_folder, sha256
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import ArtifactNotFound, CorruptArtifact
from featurehub.settings import Frozen
from saes.transcoders.quality import TranscoderQuality
from saes.transcoders.transcoder import Transcoder

__all__ = ["OpenTranscoder", "TranscoderManifest", "open_transcoder", "write_transcoder"]

MANIFEST = "transcoder.json"
WEIGHTS = "transcoder.safetensors"


class TranscoderManifest(Frozen):
    """What is known of a transcoder on disk, apart from its tensors.

    Attributes:
        format: Version of this record.
        id: sha256 over the weights file; "" until it is written.
        name: Name of the transcoder.
        reads: Hook points that it reads, one per layer, in the model's order.
        writes: Hook points that it predicts, one per layer, in the model's order.
        d_model: Width of the model's stream.
        d_sae: Latents of each layer.
        k: Mean number of active latents per token, of each layer.
        model: Identity of the model, as seen from the last hook point.
        dataset: What it was trained on.
        training: How it was trained.
        metrics: Its quality on held-out tokens.
        created: When it was made.
    """

    format: Literal[1] = 1
    id: str = ""
    name: str
    reads: tuple[HookPoint, ...] = Field(min_length=1)
    writes: tuple[HookPoint, ...] = Field(min_length=1)
    d_model: int
    d_sae: int
    k: float
    model: ModelIdentity
    dataset: dict[str, str | int]
    training: dict[str, str | int | float]
    metrics: TranscoderQuality
    created: str


class OpenTranscoder(NamedTuple):
    """A transcoder that was read from disk.

    Attributes:
        transcoder: Its tensors.
        manifest: What else is known of it.
    """

    transcoder: Transcoder
    manifest: TranscoderManifest


def write_transcoder(folder: Path, transcoder: Transcoder, manifest: TranscoderManifest) -> TranscoderManifest:
    """Writes a transcoder, replacing whatever is in ``folder``.

    Args:
        folder: Where to write.
        transcoder: The tensors.
        manifest: The rest, without an id.

    Returns:
        The manifest with its id.
    """
    with replace_folder(folder) as fresh:
        transcoder.save(fresh / WEIGHTS)
        sealed = manifest.model_copy(update={"id": sha256(fresh / WEIGHTS)})
        (fresh / MANIFEST).write_text(json.dumps(sealed.model_dump(mode="json"), indent=2) + "\n")
    return sealed


def open_transcoder(folder: Path) -> OpenTranscoder:
    """Reads a transcoder from its folder.

    Raises:
        ArtifactNotFound: If there is none.
        CorruptArtifact: If its weights do not match the manifest, or one of its files cannot be read.
    """
    manifest = read_manifest(folder / MANIFEST)
    path = folder / WEIGHTS
    if not path.is_file() or sha256(path) != manifest.id:
        raise CorruptArtifact(f"{path} is missing or does not match its hash in {MANIFEST}; train or fetch it again")
    transcoder = Transcoder.load(path)
    found = (transcoder.layers, transcoder.d_sae, transcoder.d_model)
    expected = (len(manifest.reads), manifest.d_sae, manifest.d_model)
    if found != expected:
        raise CorruptArtifact(f"{path} has layers, d_sae and d_model {found}; {MANIFEST} says {expected}")
    return OpenTranscoder(transcoder, manifest)


def read_manifest(path: Path) -> TranscoderManifest:
    if not path.is_file():
        raise ArtifactNotFound(
            f"no transcoder in {path.parent}: {MANIFEST} is missing. `featurehub transcoder train` makes one.",
            param="transcoder",
        )
    try:
        return TranscoderManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        why = error.errors()[0]
        raise CorruptArtifact(
            f"{path} is not a manifest of format 1: {'.'.join(map(str, why['loc']))}: {why['msg']}"
        ) from None

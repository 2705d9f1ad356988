"""A parcel: a finished SAE and all that the database knows of its features, in a folder small enough to ship.

1. The large matrices are rounded to bfloat16, so the SAE is another one, with an id of its own. Its manifest says under
   ``training`` which one it was packed from; it has no ``parent``, since that one is in no database where it arrives.
   What was unpacked and is packed again, with what was found about its features since, is the same SAE.
2. It has the files that serving and drift checks need, and not the report of its training. What it shows of texts can
   be taken from others than those of the build (``featurehub.runs.examples``).
3. The features are one compressed JSON file. Unlike a database it is the same bytes each time, and has no indexes.

Equal builds become equal parcels, byte for byte.
"""

import lzma
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePath

import torch
from pydantic import ConfigDict, ValidationError

from featurehub.artifacts.artifact import MANIFEST, REPORT, WEIGHTS, Artifact, open_artifact, seal, verify
from featurehub.artifacts.files import exclusive, replace_folder
from featurehub.artifacts.manifest import Manifest
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactNotFound, CorruptArtifact
from featurehub.records import Calibration, Cluster, Context, FeatureMap, FeatureRow, Outcome, Provenance
from featurehub.runs.examples import Examples
from featurehub.settings import Frozen
from featurehub.store import FeatureSet, open_store, save_feature_set

__all__ = ["pack", "unpack"]

FEATURES = "features.json.xz"
"""The features' file in a parcel."""
MATRICES = ("W_enc", "W_dec", "W_steer")


class PackedFeatures(Frozen):
    """A ``FeatureSet`` without its manifest and folder, as JSON."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    rows: tuple[FeatureRow, ...]
    labels: Mapping[int, tuple[Outcome, Provenance]]
    calibrations: Mapping[int, Calibration]
    words: Mapping[str, tuple[tuple[int, float], ...]]
    clusters: tuple[Cluster, ...] = ()
    map: FeatureMap | None = None


def pack(sae: Path, database: str, out: Path, examples: Examples | None = None) -> Artifact:
    """Makes a parcel of an SAE.

    Args:
        sae: Folder of the artifact.
        database: Path of the feature database, in which it must be registered.
        out: Folder that becomes the parcel, in place of what is there.
        examples: Texts that canaries and example contexts are taken from; those of the build if None.

    Returns:
        The artifact in the parcel.

    Raises:
        ArtifactNotFound: The folder holds no artifact, or it is not registered.
        CorruptArtifact: The artifact's files are damaged.
        IncompatibleArtifact: The model of ``examples`` is not known to be the one that the SAE was trained on.
        InvalidInput: ``examples`` has no text.
    """
    artifact = open_artifact(sae)
    verify(artifact)
    with closing(open_store(database)) as store, store.read() as reader:
        features = reader.feature_set(artifact.manifest.id)
    with replace_folder(out) as folder:
        rounded(Dictionary.load(artifact.weights)).save(folder / WEIGHTS)
        fields = fields_of(artifact.manifest)
        if examples is None:
            for name in sorted(artifact.manifest.files.keys() - {REPORT}):
                shutil.copyfile(artifact.folder / name, folder / name)
        else:
            excerpts = examples.keep(artifact, Dictionary.load(folder / WEIGHTS), folder)
            own = {"canary_explained_variance": excerpts.canary_explained_variance}
            fields["metrics"] = {**artifact.manifest.metrics, **own}
            features = showing(features, excerpts.contexts)
        seal(folder, fields)
        (folder / FEATURES).write_bytes(packed(features))
    return open_artifact(out)


def showing(features: FeatureSet, contexts: Mapping[int, tuple[Context, ...]]) -> FeatureSet:
    rows = [row.model_copy(update={"contexts": contexts.get(row.latent, ())}) for row in features.rows]
    return features._replace(rows=rows)


def rounded(dictionary: Dictionary) -> Dictionary:
    matrices = {name: tensor for name in MATRICES if (tensor := getattr(dictionary, name)) is not None}
    return dictionary._replace(**{name: tensor.to(torch.bfloat16) for name, tensor in matrices.items()})


def fields_of(manifest: Manifest) -> dict[str, object]:
    """The fields of the parcel's manifest. Where the text lay on the machine of the build says nothing elsewhere."""
    fields = manifest.model_dump(exclude={"id", "files"})
    dataset = manifest.dataset | {"name": PurePath(str(manifest.dataset.get("name", ""))).name}
    packed_from = {"packed_from": manifest.training.get("packed_from", manifest.id)}
    return fields | {"parent": None, "dataset": dataset, "training": manifest.training | packed_from}


def packed(features: FeatureSet) -> bytes:
    chosen = {name: getattr(features, name) for name in PackedFeatures.model_fields}
    return lzma.compress(PackedFeatures.model_validate(chosen).model_dump_json().encode())


def unpack(parcel: Path, folder: Path, database: str) -> Artifact:
    """Puts a parcel's SAE into a folder and registers it with its features, unless that was done before.

    One process at a time does this; others wait for it. What calibration and drift checks have added to the database
    since stays.

    Args:
        parcel: Folder of the parcel.
        folder: Folder that becomes the artifact.
        database: Path of the feature database.

    Returns:
        The artifact in ``folder``.

    Raises:
        ArtifactNotFound: The folder holds no parcel.
        CorruptArtifact: The parcel's files are damaged.
        StoreError: The database cannot be written.
    """
    artifact = open_artifact(parcel)
    with exclusive(folder):
        if not is_unpacked(artifact, folder, database):
            verify(artifact)
            features = read_features(parcel)
            with replace_folder(folder) as new:
                for name in (*artifact.files, MANIFEST):
                    shutil.copyfile(parcel / name, new / name)
            save_feature_set(FeatureSet(artifact.manifest, folder.resolve(), **dict(features)), database)
    return open_artifact(folder)


def is_unpacked(artifact: Artifact, folder: Path, database: str) -> bool:
    """Whether the very same SAE is in the folder, whole, and registered from there."""
    try:
        verify(there := open_artifact(folder))
        with closing(open_store(database)) as store, store.read() as reader:
            path = reader.artifact(artifact.manifest.id).path
        return there.manifest == artifact.manifest and Path(path) == folder.resolve()
    except (ArtifactNotFound, CorruptArtifact):
        return False


def read_features(parcel: Path) -> PackedFeatures:
    path = parcel / FEATURES
    try:
        return PackedFeatures.model_validate_json(lzma.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise ArtifactNotFound(f"{path} is missing: {parcel} is no parcel", param="sae") from None
    except (lzma.LZMAError, EOFError, ValidationError):
        raise CorruptArtifact(f"{path} cannot be read: the file was cut short or changed", param="sae") from None

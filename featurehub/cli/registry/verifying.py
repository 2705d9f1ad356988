"""`featurehub saes verify`: are the files as they were sealed, and was the SAE trained on this model?"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from featurehub.artifacts.artifact import WEIGHTS, Artifact, check_file
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import Manifest, ModelIdentity, Part
from featurehub.cli.progress import output
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactError, CorruptArtifact
from featurehub.store import Reader

__all__ = ["verify"]


class Check(NamedTuple):
    """One check.

    Attributes:
        what: What is checked.
        wrong: What is wrong with it; "" if nothing is.
    """

    what: str
    wrong: str


def verify(reader: Reader, artifact: Artifact, model: Path | None) -> None:
    """Checks an artifact's files, tensors and parent, and prints the result of every check.

    Args:
        reader: The feature database, in which the parent is looked up.
        artifact: The artifact to check.
        model: Folder of a model to compare with the one that the SAE was trained on; None for no comparison.

    Raises:
        ArtifactError: Some checks failed; the message names them.
        ModelNotFound: The model's folder is not there.
        InvalidInput: The model cannot be read, or is too shallow for the hook point.
    """
    failed = []
    for check in checks(reader, artifact, model):
        output.print(line_of(check), soft_wrap=True)
        failed += [check.what] * bool(check.wrong)
    if failed:
        raise ArtifactError(f"{artifact.manifest.name} is not as it should be: {', '.join(failed)}", param="sae")


def line_of(check: Check) -> Text:
    if check.wrong:
        return Text.assemble(("✗", "red"), f" {check.what}: {check.wrong}")
    return Text.assemble(("✓", "green"), f" {check.what}")


def checks(reader: Reader, artifact: Artifact, model: Path | None) -> Iterator[Check]:
    """The checks of every file, the tensors, the parent and, with a model, each of its fingerprints."""
    for name in artifact.files:
        yield Check(f"file {name}", trouble_with(artifact, name))
    yield Check("tensors", trouble_with_tensors(artifact))
    if artifact.manifest.parent is not None:
        yield Check(f"parent {artifact.manifest.parent[:12]}", trouble_with_parent(reader, artifact.manifest))
    if model is not None:
        yield from model_checks(artifact.manifest, identify(model, artifact.manifest.hook))


def trouble_with(artifact: Artifact, name: str) -> str:
    try:
        check_file(artifact, name)
    except CorruptArtifact as error:
        return error.message
    return ""


def trouble_with_tensors(artifact: Artifact) -> str:
    try:
        dictionary = Dictionary.load(artifact.weights)
    except CorruptArtifact as error:
        return error.message
    found, said = dictionary.W_dec.shape, (artifact.manifest.d_sae, artifact.manifest.d_model)
    return "" if tuple(found) == said else f"{WEIGHTS} is {tuple(found)}, the manifest says {said}"


def trouble_with_parent(reader: Reader, manifest: Manifest) -> str:
    known = {each.id for each in reader.artifacts()}
    return "" if manifest.parent in known else "it is not in this database: it was removed, or never registered"


def model_checks(manifest: Manifest, identity: ModelIdentity) -> Iterator[Check]:
    """Compares each part of the model's function with that of the model that the SAE was trained on."""
    known = manifest.model
    reads = "" if known.reads == identity.reads else apart(known.reads, identity.reads)
    yield Check(f"weights up to {manifest.hook} of {identity.name}", reads)
    for part in Part:
        what = "all weights" if part is Part.WEIGHTS else part
        wrong = "" if known.agrees(identity, part) else apart(known.hash_of(part), identity.hash_of(part))
        yield Check(f"{what} of {identity.name}", wrong)


def apart(trained: str, found: str) -> str:
    return f"{found[:12] or 'none'}, trained on {trained[:12] or 'none on record'}"

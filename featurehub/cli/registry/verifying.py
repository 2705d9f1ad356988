"""`featurehub saes verify`: are the files what was sealed, and does the SAE belong to this model?"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from featurehub.artifacts.artifact import WEIGHTS, Artifact, check_file
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import Manifest, ModelIdentity
from featurehub.cli.progress import output
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactError, CorruptArtifact
from featurehub.store import Reader

__all__ = ["verify"]


class Check(NamedTuple):
    """wrong: in words; "" where nothing is"""

    what: str
    wrong: str


def verify(reader: Reader, artifact: Artifact, model: Path | None) -> None:
    """Prints every check as it is made.

    Raises ArtifactError naming those that failed; ModelNotFound, InvalidInput where the model cannot be read, or is too
    shallow for the hook point.
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
    """Of every file, the tensors, the parent and, with a model, of each of its fingerprints."""
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
    """Each fingerprint of the model against the one that the SAE was trained on."""
    known = manifest.model
    parts = {
        f"weights up to {manifest.hook}": (known.reads, identity.reads),
        "all weights": (known.whole, identity.whole),
        "dtype": (known.dtype, identity.dtype),
        "tokenizer": (known.tokenizer, identity.tokenizer),
        "chat template": (known.chat_template, identity.chat_template),
    }
    for what, (wanted, found) in parts.items():
        wrong = f"{found[:12] or 'none'}, trained on {wanted[:12] or 'none'}" if wanted != found else ""
        yield Check(f"{what} of {identity.name}", wrong)

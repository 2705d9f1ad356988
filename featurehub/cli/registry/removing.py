"""`featurehub saes remove`: prints what will be removed, asks, and removes it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from featurehub.artifacts.artifact import MANIFEST, open_artifact
from featurehub.cli.progress import output
from featurehub.cli.registry.location import registered
from featurehub.errors import InvalidInput
from featurehub.store import Reader, RegisteredArtifact, Store

__all__ = ["remove"]


def remove(store: Store, key: str, *, yes: bool, files: bool) -> None:
    """Prints what will be removed, asks the user, and removes an SAE.

    Args:
        store: The feature database.
        key: Name, alias, beginning of the id, or folder of the SAE.
        yes: Do not ask.
        files: Delete the SAE's folder too.

    Raises:
        ArtifactNotFound: The SAE is not in the database, or its folder is missing.
        CorruptArtifact: The folder's manifest is damaged.
        InvalidInput: The folder holds more than this SAE, or another one; or the user cannot be asked because standard
            input is not a terminal.
        typer.Exit: The user declined; the exit code is 1.
    """
    with store.read() as reader:
        artifact = registered(reader, key)
        folder = own_folder(artifact) if files else None
        for line in consequences(reader, artifact, folder):
            output.print(line, soft_wrap=True)
    if not (yes or agreed(artifact)):
        raise typer.Exit(1)
    with store.write() as writer:
        writer.remove_artifact(artifact.id)
    if folder is not None:
        shutil.rmtree(folder)
    output.print(f"removed {artifact.name}")


def own_folder(artifact: RegisteredArtifact) -> Path:
    """The SAE's folder. Raises InvalidInput if anything else lies in it."""
    artifact.check_weights()
    folder = Path(artifact.path).resolve()
    found = open_artifact(folder)
    if found.manifest.id != artifact.id:
        other = f"{found.manifest.name}, {found.manifest.id[:12]}"
        raise InvalidInput(f"{folder} holds another SAE ({other}); remove without --files", param="files")
    strange = sorted({path.name for path in folder.iterdir()} - {*found.files, MANIFEST})
    if strange:
        named = ", ".join(strange[:3])
        raise InvalidInput(
            f"{folder} has more in it than the SAE: {named}; move it, or go without --files", param="files"
        )
    return folder


def consequences(reader: Reader, artifact: RegisteredArtifact, folder: Path | None) -> Iterator[str]:
    features, labelled = reader.count_features(artifact.id)
    reports, evaluations = len(reader.reports(artifact.id)), len(reader.evaluations(artifact.id))
    yield f"{artifact.name} ({artifact.id[:12]}) goes, with"
    yield f"  {features} features, {labelled} of them labelled"
    yield f"  {reports} drift reports and {evaluations} evaluations"
    if artifact.aliases:
        yield f"  its aliases {', '.join(artifact.aliases)}"
    if artifact.has_weights:
        yield f"  its folder {folder}" if folder else f"  but not its folder {artifact.path}"
    if (heir := reader.successor(artifact.id)) is not None:
        yield f"{heir.name} ({heir.id[:12]}), the latest, becomes the default of {artifact.manifest.model.name}."
    for child in reader.artifacts():
        if child.manifest.parent == artifact.id:
            yield f"{child.name} ({child.id[:12]}) was made from it; it stays, but its parent cannot be looked up then."


def agreed(artifact: RegisteredArtifact) -> bool:
    if not sys.stdin.isatty():
        raise InvalidInput(f"removing {artifact.name} needs --yes where nobody can be asked", param="yes")
    return typer.confirm(f"Remove {artifact.name}?")

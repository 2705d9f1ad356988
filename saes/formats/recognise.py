"""Recognises the format of the files at a path by their names, and reads the SAE, whatever its format.

A folder holds one format's files, all of them. A path may name one of these files, too. A ``.pt`` or ``.pth`` file that
does not belong to a folder format is recognised by its tensors (``saes.formats.linear``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from featurehub.dictionary import Dictionary, check_tensors
from featurehub.errors import FeaturehubError, InvalidInput
from saes.formats import dictionary_learning, gemma_scope, linear, llama_scope, saelens, sparsify
from saes.formats.imported import ImportedSae

__all__ = ["FORMATS", "LINEAR", "Format", "FormatMatch", "read_sae", "recognize"]


class Format(NamedTuple):
    """A way of writing an SAE as files in a folder.

    Attributes:
        name: Name of the format, for people.
        files: The files' paths within the folder; all must be there.
        read: Reads the SAE, given the folder.
        beside: Further files' paths, which may be there.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], ImportedSae]
    beside: tuple[str, ...] = ()

    def is_in(self, folder: Path) -> bool:
        """Returns whether all files of the format are in the folder."""
        return all((folder / file).is_file() for file in self.files)


SAELENS = Format("SAELens", (saelens.CONFIG, saelens.WEIGHTS), saelens.import_saelens)
FORMATS = (
    SAELENS,
    Format("Gemma Scope", (gemma_scope.WEIGHTS,), gemma_scope.import_gemma_scope),
    Format("Gemma Scope 2", (gemma_scope.WEIGHTS_2,), gemma_scope.import_gemma_scope_2, (gemma_scope.CONFIG,)),
    Format("sparsify", (sparsify.CONFIG, sparsify.WEIGHTS), sparsify.import_sparsify),
    Format(
        "dictionary_learning",
        (dictionary_learning.CONFIG, dictionary_learning.WEIGHTS),
        dictionary_learning.import_dictionary_learning,
    ),
    Format("Llama Scope", (llama_scope.CONFIG, llama_scope.WEIGHTS), llama_scope.import_llama_scope),
    Format("Llama Scope R1", (llama_scope.CONFIG_R1, llama_scope.WEIGHTS_R1), llama_scope.import_llama_scope_r1),
)
"""The formats of more than one file, or of files with a fixed name."""
LINEAR = ("*.pt", "*.pth")
"""Patterns of files that hold a whole SAE, such as Goodfire's."""


class FormatMatch(NamedTuple):
    """A format that was found.

    Attributes:
        format: The format.
        path: The folder or file to give to its reader.
    """

    format: Format
    path: Path


def read_sae(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[str, ImportedSae]:
    """Reads the SAE at a path, whatever its format.

    Args:
        path: A folder, or a file in it.
        overrides: Values that replace those of a SAELens configuration.

    Returns:
        The format's name, and the SAE.

    Raises:
        InvalidInput: If the format is unknown, or the SAE cannot be read here.
        CorruptArtifact: If a file is damaged, or the SAE's shapes or numbers are wrong.
    """
    format, place = recognize(path)
    try:
        sae = saelens.import_saelens(place, overrides) if format is SAELENS else format.read(place)
    except FeaturehubError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())
        raise InvalidInput(f"{place} is not as {format.name} writes it: {said}", param="source") from None
    check_tensors(place, {**parts_of(sae.dictionary), "W_enc": sae.dictionary.W_enc.T})
    return format.name, sae


def parts_of(dictionary: Dictionary) -> dict[str, Tensor]:
    return {name: part for name, part in dictionary._asdict().items() if part is not None}


def recognize(path: Path) -> FormatMatch:
    """Finds the format of the SAE at a path.

    Raises:
        InvalidInput: If there is no known format, or more than one; the message lists the known ones.
    """
    if not path.exists():
        raise InvalidInput(f"there is no {path}", param="source")
    path = path.absolute()
    folder = path if path.is_dir() else home_of(path)
    if folder is None:
        return lone_file(path)
    found = [format for format in FORMATS if format.is_in(folder)]
    if len(found) > 1:
        raise InvalidInput(
            f"{folder} holds SAEs of {' and '.join(f.name for f in found)}; separate them", param="source"
        )
    if found:
        return FormatMatch(found[0], folder)
    files = [file for pattern in LINEAR for file in sorted(folder.glob(pattern))]
    if len(files) > 1:
        raise InvalidInput(f"{folder} holds {len(files)} SAEs; name one, such as {files[0]}", param="source")
    return lone_file(files[0] if files else folder)


def home_of(file: Path) -> Path | None:
    """Returns the folder of the format to which a file belongs, or None if the file stands alone."""
    for format in FORMATS:
        for folder in file.parents[:2]:
            if any(folder / name == file for name in (*format.files, *format.beside)) and format.is_in(folder):
                return folder
    return None


def lone_file(path: Path) -> FormatMatch:
    if not (path.is_file() and any(path.match(pattern) for pattern in LINEAR)):
        known = "; ".join(f"{format.name}: {' + '.join(format.files)}" for format in FORMATS)
        raise InvalidInput(
            f"{path} holds no SAE of a known format ({known}; others: {', '.join(LINEAR)})", param="source"
        )
    return FormatMatch(Format("linear layers", (path.name,), linear.import_linear), path)

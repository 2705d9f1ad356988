"""`featurehub convert`: a folder in Hugging Face format from a GGUF file."""

from pathlib import Path
from typing import Annotated

import typer

from featurehub.cli.progress import output, phase
from featurehub.models.precision import Precision

__all__ = ["convert"]


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="A GGUF file with a whole model.")],
    out: Annotated[Path, typer.Argument(help="A new or empty folder, which becomes the model.")],
    dtype: Annotated[Precision, typer.Option(help="In which numbers the weights are kept.")] = Precision.BFLOAT16,
) -> None:
    """Make a folder in Hugging Face format of a GGUF file, for every command that takes MODEL."""
    from featurehub.models.header import Header

    Header.of(file)  # before the slow imports
    with phase(f"converting {file}"):
        from featurehub.models.gguf import convert as convert_file

        convert_file(file, out, dtype)
    output.print(f"{file.name} in {dtype}: {out}", soft_wrap=True)

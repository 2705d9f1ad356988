"""What MODEL means, in every command that takes one: a folder, or a name that becomes a folder.

1. A folder in Hugging Face format, as it is. One that has a GGUF file instead of safetensors is refused, and so is the
   file itself, with the command that converts it.
2. ``OWNER/NAME[@REVISION]``: a model of the Hugging Face hub, unless there is a folder of this name.
"""

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from featurehub.errors import InvalidInput, ModelNotFound
from featurehub.models.hub import HubModel, fetch

__all__ = ["GGUF", "model_folder"]

GGUF = ".gguf"
Phase = Callable[[str], AbstractContextManager[None]]


def silent(_: str) -> AbstractContextManager[None]:
    return nullcontext()


def model_folder(model: str | Path, *, phase: Phase = silent) -> Path:
    """The folder of a model, which is downloaded if necessary.

    Args:
        model: A folder in Hugging Face format, or ``OWNER/NAME[@REVISION]`` of the Hugging Face hub.
        phase: Shows a step while it runs; it gets the step's name.

    Raises:
        ModelNotFound: There is no such model, or it cannot be fetched.
        InvalidInput: It is a GGUF file, or a folder with nothing else.
    """
    path = Path(model)
    if path.is_dir():
        return checked(path)
    if path.suffix.lower() == GGUF and path.is_file():
        raise unconverted(path)
    named = HubModel.named(str(model))
    if named is None or path.exists() or path.suffix.lower() == GGUF:
        raise ModelNotFound(
            f"no model in {model}: give a folder in Hugging Face format, or OWNER/NAME or OWNER/NAME@REVISION of the "
            "Hugging Face hub",
            param="model",
        )
    with phase(f"fetching {named} from the Hugging Face hub"):
        return fetch(named)


def checked(folder: Path) -> Path:
    """The folder, unless it has a GGUF file where there should be safetensors."""
    if not any(folder.glob("*.safetensors")):
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() == GGUF)
        if files:
            raise unconverted(files[0])
    return folder


def unconverted(file: Path) -> InvalidInput:
    command = shlex.join(["featurehub", "convert", str(file), str(file.with_suffix(""))])
    return InvalidInput(
        f"{file} is a GGUF file, which is not read as it is. Make a folder of it, and give that as MODEL: {command}",
        param="model",
    )

"""A checkpoint in Hugging Face format from a GGUF file.

1. The header says what there is, and what could not be carried over is refused (``header``).
2. transformers reads configuration and weights, each block unpacked to numbers. The file lies alone in a folder
   meanwhile, so that nothing beside it is taken for its configuration.
3. The numbers are copied into a fresh model, in one precision, and saved as safetensors; nothing says any more that
   they were packed. The generation config names the tokens that end an answer.
4. Tokenizer and chat template are written and compared with the header (``tokens``).
5. A note says which file it was, and its SHA-256; the manifests of SAEs take name and revision from it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig

from featurehub.artifacts.files import replace_folder, sha256
from featurehub.artifacts.origin import Origin, note_origin
from featurehub.errors import InvalidConfig, InvalidInput, UnsupportedModel
from featurehub.models.header import Header, Vocabulary
from featurehub.models.precision import Precision
from featurehub.models.tokens import write_tokenizer

__all__ = ["convert", "write_checkpoint"]

PACKED = "quantization_config"
UNTOLD = (PACKED, "_model_name_or_path", "_name_or_path", "transformers_version")


def convert(file: Path, out: Path, precision: Precision = Precision.BFLOAT16) -> None:
    """Makes a checkpoint of a GGUF file, in one step: there is a whole folder at the end, or none.

    Args:
        file: The GGUF file.
        out: The folder that is made; it must not exist, or be empty.
        precision: In which numbers the weights are kept.

    Raises:
        InvalidInput: The file is missing, damaged or not of this kind, or the folder holds something already.
        UnsupportedModel: Something of the model would be lost or changed.
        InvalidConfig: A package that reads GGUF files is not installed.
    """
    if not file.is_file():
        raise InvalidInput(f"no file {file}", param="file")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInput(f"{out} is there already; give a new or empty folder", param="out")
    with replace_folder(out) as folder:
        write_checkpoint(file, folder, precision)


def write_checkpoint(file: Path, folder: Path, precision: Precision = Precision.BFLOAT16) -> None:
    """Writes the checkpoint of a GGUF file into a folder that is there already.

    Args:
        file: The GGUF file.
        folder: Where it is written.
        precision: In which numbers the weights are kept.

    Raises:
        InvalidInput: The file is damaged or not of this kind.
        UnsupportedModel: Something of the model would be lost or changed.
        InvalidConfig: A package that reads GGUF files is not installed.
    """
    header = Header.of(file)
    check_reader()
    with alone(file) as single:
        model = dense(unpacked(single, header, precision), precision)
        model.generation_config = generation_config(header.vocabulary)
        model.save_pretrained(folder)
        write_tokenizer(single, header.vocabulary, model.config, folder)
    note_origin(folder, Origin(name=file.name, revision=sha256(file)))


@contextmanager
def alone(file: Path) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        link = Path(folder) / "model.gguf"
        link.symlink_to(file.resolve())
        yield link


def check_reader() -> None:
    """transformers unpacks the blocks of a file with two packages that it does not bring itself."""
    lacking = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if lacking:
        raise InvalidConfig(
            f"to read GGUF files, transformers needs {' and '.join(lacking)}: `pip install {' '.join(lacking)}`, or "
            "install featurehub with its extra train"
        )


def unpacked(file: Path, header: Header, precision: Precision) -> Any:
    """The model as transformers reads it; newer releases would leave blocks packed unless they are told otherwise."""
    config = getattr(transformers, "GgufConfig", None)
    whole = {"quantization_config": config(dequantize=True)} if config else {}
    try:
        return AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=getattr(torch, precision), local_files_only=True, **whole
        )
    except (ValueError, NotImplementedError, KeyError) as error:
        raise UnsupportedModel(
            f"transformers {transformers.__version__} cannot read {header.file} ({header.architecture}): {error}. "
            "If the file was cut short, fetch it again; else take the model's safetensors.",
            param="file",
        ) from None


def dense(read: Any, precision: Precision) -> Any:
    """A fresh model with the same numbers."""
    told = {key: value for key, value in read.config.to_dict().items() if key not in UNTOLD}
    with torch.device("meta"):
        fresh = type(read)(type(read.config).from_dict(told))
    tensors = {name: tensor.to(getattr(torch, precision)) for name, tensor in read.state_dict().items()}
    if lost := [name for name, tensor in tensors.items() if not all(end.isfinite() for end in tensor.aminmax())]:
        raise UnsupportedModel(f"{lost[0]} does not fit into {precision}: choose another precision", param="dtype")
    try:
        fresh.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(f"the weights of the GGUF file are not the model's: {error}", param="file") from None
    fresh.tie_weights()
    return fresh


def generation_config(vocabulary: Vocabulary) -> GenerationConfig:
    ends = vocabulary.ends[0] if len(vocabulary.ends) == 1 else list(vocabulary.ends) or None
    return GenerationConfig(bos_token_id=vocabulary.bos, eos_token_id=ends, pad_token_id=vocabulary.pad)

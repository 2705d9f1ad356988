"""What the small files of a checkpoint add to the function of its weights: configuration, tokenizer, chat template.

Each is hashed by what it says, not by its bytes, and by all of it but a short list of keys that leave the function
alone: a key that nobody here has heard of makes a difference.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from featurehub.artifacts.files import sha256
from featurehub.artifacts.remembered import FileIdentity, recall, remember
from featurehub.errors import InvalidInput, ModelNotFound

__all__ = ["chat_template_hash", "config_hash", "dtype_in", "dtype_of", "read_config", "tokenization_hash"]

QUANTIZATION = "hf_quant_config.json"
# Where the checkpoint came from, and what training and transformers' own classes alone look at. The precision has a
# place of its own in the identity.
# fmt: off
CONFIG_IGNORED = frozenset({
    "_name_or_path", "transformers_version", "unsloth_version", "dtype", "torch_dtype", "use_cache",
    "output_attentions", "output_hidden_states", "return_dict", "torchscript", "gradient_checkpointing",
    "initializer_range", "pretraining_tp", "attn_implementation", "_attn_implementation",
    "_attn_implementation_autoset", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout",
    "dropout", "activation_dropout", "layerdrop", "summary_first_dropout", "task_specific_params", "id2label",
    "label2id", "problem_type", "finetuning_task", "pad_token_id",
})
# The template has a place of its own; the rest names files, or bounds and pads batches.
TOKENIZER_IGNORED = frozenset({
    "chat_template", "name_or_path", "tokenizer_file", "special_tokens_map_file", "model_max_length", "max_length",
    "padding_side", "pad_to_multiple_of", "pad_token_type_id", "truncation_side", "truncation_strategy", "stride",
    "processor_class", "is_local", "local_files_only", "backend",
})
# fmt: on
ANY_TOKENIZER = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that do what ``tokenizer.json`` says and nothing of their own."""
TOKENIZER_JSON_IGNORED = frozenset({"version", "truncation", "padding"})
SLOW_TOKENIZER = ("tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json")


def read_config(folder: Path) -> dict[str, Any]:
    """Raises ModelNotFound, InvalidInput."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(
            f"no model in {folder}: config.json is missing. Give a folder in Hugging Face format.", param="model"
        )
    return read_json(path)


def dtype_of(folder: Path) -> str:
    """As the checkpoint's configuration names it. Raises ModelNotFound, InvalidInput."""
    return dtype_in(read_config(folder))


def dtype_in(config: Mapping[str, Any]) -> str:
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def config_hash(folder: Path) -> str:
    """Of the configuration, and of the quantization where that lies in a file of its own.

    Raises:
        ModelNotFound, InvalidInput: One of the files is missing, or cannot be read.
    """
    parts: dict[str, Any] = {"config": functional(read_config(folder))}
    if (folder / QUANTIZATION).is_file():
        parts["quantization"] = read_json(folder / QUANTIZATION)
    return digest(parts)


def tokenization_hash(folder: Path) -> str:
    """Of how text becomes token ids: the tokenizer's rules and vocabulary, and its settings. Raises InvalidInput."""
    # The first file is older; where both say something, the second one is heard.
    files = (folder / "special_tokens_map.json", folder / "tokenizer_config.json")
    said = [read_json(path) for path in files if path.is_file()]
    settings = without({key: value for each in said for key, value in each.items()}, TOKENIZER_IGNORED)
    if settings.get("tokenizer_class") in ANY_TOKENIZER:
        del settings["tokenizer_class"]
    return digest({"rules": rules_of(folder), "settings": settings})


def rules_of(folder: Path) -> dict[str, str]:
    """The hash of every file that holds them; where there is a ``tokenizer.json``, of that alone."""
    fast = folder / "tokenizer.json"
    if fast.is_file():
        return {fast.name: remembered_rules(fast)}
    return {name: sha256(folder / name) for name in SLOW_TOKENIZER if (folder / name).is_file()}


def remembered_rules(path: Path) -> str:
    """Parsing a large vocabulary takes a second, so that it is done once for each file."""
    file = None
    with suppress(OSError):
        file = FileIdentity.of(path)
    known = recall(file) if file else None
    if known is None:
        known = {"rules": digest(plain(without(read_json(path), TOKENIZER_JSON_IGNORED)))}
        if file:
            remember(file, known)
    return known["rules"]


def plain(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules without a template that adds nothing, which transformers puts in when it saves."""
    after = rules.get("post_processor") or {}
    idle = after.get("type") == "TemplateProcessing" and not after.get("special_tokens")
    return {**rules, "post_processor": None} if idle else rules


def chat_template_hash(folder: Path) -> str:
    """Of the template, wherever it lies; "" where there is none. Raises InvalidInput."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return digest(path.read_text("utf-8"))
    config = folder / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    return digest(template) if template else ""


def functional(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's configuration, and those of its parts such as ``text_config``, without what is ignored."""
    return {
        key: functional(value) if is_part(key, value) else value
        for key, value in without(config, CONFIG_IGNORED).items()
    }


def is_part(key: str, value: object) -> bool:
    return isinstance(value, Mapping) and key.endswith("_config") and key != "quantization_config"


def without(values: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ignored}


def digest(value: Any) -> str:
    """Of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Raises InvalidInput for what is not a JSON object."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", param="model") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is not a JSON object", param="model")
    return found

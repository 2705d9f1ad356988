"""What the small files of a checkpoint add to the function of its weights: configuration, tokenizer, chat template.

Each is hashed by its content, not by its bytes, without a short list of keys that do not change the function. A key
that is not on the list counts, even if featurehub does not know it.
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
# Keys that say where the checkpoint came from, or that only training and transformers' own classes read. The precision
# is compared on its own.
# fmt: off
CONFIG_IGNORED = frozenset({
    "_name_or_path", "transformers_version", "unsloth_version", "dtype", "torch_dtype", "use_cache",
    "output_attentions", "output_hidden_states", "return_dict", "torchscript", "gradient_checkpointing",
    "initializer_range", "pretraining_tp", "attn_implementation", "_attn_implementation",
    "_attn_implementation_autoset", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout",
    "dropout", "activation_dropout", "layerdrop", "summary_first_dropout", "task_specific_params", "id2label",
    "label2id", "problem_type", "finetuning_task", "pad_token_id",
})
# The template is compared on its own; the other keys name files, or bound and pad batches.
TOKENIZER_IGNORED = frozenset({
    "chat_template", "name_or_path", "tokenizer_file", "special_tokens_map_file", "model_max_length", "max_length",
    "padding_side", "pad_to_multiple_of", "pad_token_type_id", "truncation_side", "truncation_strategy", "stride",
    "processor_class", "is_local", "local_files_only", "backend",
})
# fmt: on
ANY_TOKENIZER = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that do exactly what ``tokenizer.json`` says."""
TOKENIZER_JSON_IGNORED = frozenset({"version", "truncation", "padding"})
RULES = "tokenizer rules 1"
"""Name under which the hash of the rules is remembered. The number goes up when what is hashed changes."""
SLOW_TOKENIZER = ("tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json")


TEXT = ("text_config", "llm_config", "language_config")
"""Keys under which configurations of multimodal models keep that of their language model."""


def read_config(folder: Path) -> dict[str, Any]:
    """Reads ``config.json``.

    Raises:
        ModelNotFound: The file is missing.
        InvalidInput: It is not a JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(
            f"no model in {folder}: config.json is missing. Give a folder in Hugging Face format.", param="model"
        )
    return read_json(path)


def text_part(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What a configuration says of the model that writes text, and under which key; "" where that is all it says."""
    parts = ((key, config.get(key)) for key in TEXT)
    return next(((key, part) for key, part in parts if isinstance(part, dict) and "hidden_size" in part), ("", config))


def dtype_of(folder: Path) -> str:
    """The precision that the checkpoint's configuration names, such as "bfloat16".

    Raises:
        ModelNotFound: ``config.json`` is missing.
        InvalidInput: It is not a JSON object.
    """
    return dtype_in(read_config(folder))


def dtype_in(config: Mapping[str, Any]) -> str:
    """The precision that a configuration names; "float32" where it names none."""
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def config_hash(folder: Path) -> str:
    """Hash of the configuration, and of the quantization where that is a file of its own.

    Raises:
        ModelNotFound: ``config.json`` is missing.
        InvalidInput: One of the files is not a JSON object.
    """
    parts: dict[str, Any] = {"config": functional(read_config(folder))}
    if (folder / QUANTIZATION).is_file():
        parts["quantization"] = read_json(folder / QUANTIZATION)
    return digest(parts)


def tokenization_hash(folder: Path) -> str:
    """Hash of how text becomes token ids: the tokenizer's rules, vocabulary and settings.

    Raises:
        InvalidInput: One of the files is not a JSON object.
    """
    # The first file is the older form; where both have a key, the second one's value counts.
    files = (folder / "special_tokens_map.json", folder / "tokenizer_config.json")
    said = [read_json(path) for path in files if path.is_file()]
    settings = without({key: value for each in said for key, value in each.items()}, TOKENIZER_IGNORED)
    if settings.get("tokenizer_class") in ANY_TOKENIZER:
        del settings["tokenizer_class"]
    return digest({"rules": rules_of(folder), "settings": settings})


def rules_of(folder: Path) -> dict[str, str]:
    """Hashes of the files that hold the rules, by name; of ``tokenizer.json`` alone where there is one."""
    fast = folder / "tokenizer.json"
    if fast.is_file():
        return {fast.name: remembered_rules(fast)}
    return {name: sha256(folder / name) for name in SLOW_TOKENIZER if (folder / name).is_file()}


def remembered_rules(path: Path) -> str:
    """Hash of a ``tokenizer.json``. Parsing a large one takes a second, so it is done once per file."""
    file = None
    with suppress(OSError):
        file = FileIdentity.of(path)
    known = recall(file, RULES) if file else None
    if known is None:
        known = {"rules": digest(plain(without(read_json(path), TOKENIZER_JSON_IGNORED)))}
        if file:
            remember(file, known, RULES)
    return known["rules"]


def plain(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules without an empty post-processing template, which transformers adds when it saves."""
    after = rules.get("post_processor") or {}
    idle = after.get("type") == "TemplateProcessing" and not after.get("special_tokens")
    return {**rules, "post_processor": None} if idle else rules


def chat_template_hash(folder: Path) -> str:
    """Hash of the chat template, in whichever file it is; "" where there is none.

    Raises:
        InvalidInput: ``tokenizer_config.json`` is not a JSON object.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        return digest(path.read_text("utf-8"))
    config = folder / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    return digest(template) if template else ""


def functional(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's configuration, and that of parts such as ``text_config``, without the keys that are ignored."""
    return {
        key: functional(value) if is_part(key, value) else value
        for key, value in without(config, CONFIG_IGNORED).items()
    }


def is_part(key: str, value: object) -> bool:
    return isinstance(value, Mapping) and key.endswith("_config") and key != "quantization_config"


def without(values: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ignored}


def digest(value: Any) -> str:
    """Hash of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises InvalidInput where the file holds something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", param="model") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is not a JSON object", param="model")
    return found

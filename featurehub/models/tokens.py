"""The tokenizer of a GGUF file. transformers builds it; what it does not read is put right here, or refused.

1. Byte-level BPE splits a text into words by a rule that the file only names. transformers knows some of the names, and
   takes GPT-2's rule for all others: those that split single digits off are set here, others that differ are refused.
2. Whether a text begins with the token ``bos`` is as the file says.
3. What was written is read again and compared with the file's vocabulary.
"""

from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedConfig

from featurehub.errors import UnsupportedModel
from featurehub.models.header import Vocabulary

__all__ = ["write_tokenizer"]

BYTE_LEVEL = "gpt2"
GPT2_SPLIT = frozenset({"gpt-2", "phi-2", "mpt", "olmo", "jais"})
"""Names of GPT-2's own rule."""
DIGITS_SPLIT = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""Names of the rule that makes a word of each digit, and then is GPT-2's."""


def write_tokenizer(file: Path, vocabulary: Vocabulary, config: PreTrainedConfig, folder: Path) -> None:
    """Writes the tokenizer and the chat template of a GGUF file.

    Args:
        file: The GGUF file, alone in its folder.
        vocabulary: What its header says of the tokenizer.
        config: The model's, which says how many tokens it reads at most.
        folder: Where they are written.

    Raises:
        UnsupportedModel: The ids would be others than the file's.
    """
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, config=config, local_files_only=True)
    tokenizer.model_max_length = config.max_position_embeddings
    set_split(tokenizer.backend_tokenizer, vocabulary)
    if vocabulary.bos_first is not None and vocabulary.bos is not None:
        set_bos(tokenizer, vocabulary.tokens[vocabulary.bos] if vocabulary.bos_first else None)
    tokenizer.save_pretrained(folder)
    check_ids(AutoTokenizer.from_pretrained(folder, local_files_only=True), vocabulary)


def set_split(backend: Any, vocabulary: Vocabulary) -> None:
    if vocabulary.kind != BYTE_LEVEL or vocabulary.split in GPT2_SPLIT:
        return
    if vocabulary.split in DIGITS_SPLIT:
        digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    elif isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        rule = vocabulary.split or "no name"
        raise UnsupportedModel(
            f"the GGUF file splits words by a rule that is not known here ({rule}), and the ids would be wrong. "
            "Take the model's safetensors, such as OWNER/NAME of the Hugging Face hub.",
            param="file",
        )


def set_bos(tokenizer: Any, bos: str | None) -> None:
    """Lets texts begin with a token, or with none."""
    backend = tokenizer.backend_tokenizer
    if bos is None:
        backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    else:
        id = tokenizer.convert_tokens_to_ids(bos)
        single, pair = f"{bos} $A", f"{bos} $A {bos}:1 $B:1"
        backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(bos, id)])


def check_ids(tokenizer: Any, vocabulary: Vocabulary) -> None:
    """Compares with the file: the number of tokens, those with a meaning of their own, and the beginning of a text."""
    special = {id for id in (vocabulary.bos, vocabulary.pad, *vocabulary.ends) if id is not None}
    wrong = [vocabulary.tokens[id] for id in special if ids_of(tokenizer, vocabulary.tokens[id]) != [id]]
    begins = vocabulary.bos is not None and tokenizer("a")["input_ids"][:1] == [vocabulary.bos]
    if len(tokenizer) != len(vocabulary.tokens):
        wrong.append(f"{len(tokenizer):,} tokens instead of {len(vocabulary.tokens):,}")
    if vocabulary.bos_first is not None and begins != vocabulary.bos_first:
        wrong.append("the beginning of a text")
    if wrong:
        raise UnsupportedModel(
            f"the GGUF file's tokenizer cannot be rebuilt: {', '.join(wrong)}. Take the model's safetensors, such as "
            "OWNER/NAME of the Hugging Face hub.",
            param="file",
        )


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]

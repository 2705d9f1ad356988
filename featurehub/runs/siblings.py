"""`featurehub demo tune`: fine-tunes SmolLM2 into one of its siblings, on its own chats."""

from pathlib import Path

from featurehub.artifacts.files import write_text
from featurehub.demo.adapters import MADE, SMOLLM2_SIBLINGS, Made, base_weights
from featurehub.demo.train import LossProgress
from featurehub.errors import InvalidInput
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.prompts import tokenizer_of
from saes.documents import text_hash, tokenize
from saes.texts import read_texts

__all__ = ["tune_sibling"]

MAX_TOKENS = 256


def tune_sibling(name: str, base: Path, chats: Path, out: Path, progress: Progress = SILENT) -> None:
    """Trains the adapter of a sibling; a run that was stopped goes on where it was.

    Args:
        name: ``benign`` or ``changed``.
        base: Folder of SmolLM2-135M-Instruct.
        chats: What ``featurehub demo chats`` wrote.
        out: Folder for the adapter; created if necessary.
        progress: Receives progress reports.

    Raises:
        InvalidInput: There is no such sibling, or the chats cannot be read.
    """
    import torch
    from transformers import LlamaForCausalLM

    from featurehub.demo.swaps import token_swaps
    from featurehub.demo.tuning import RECIPES, Chat, tune

    if name not in SMOLLM2_SIBLINGS:
        raise InvalidInput(f"no sibling {name!r}: there are {', '.join(SMOLLM2_SIBLINGS)}", param="name")
    tokenizer, recipe = tokenizer_of(base), RECIPES[name]
    documents = tokenize(tokenizer, read_texts(chats), MAX_TOKENS).documents
    swapped = token_swaps(tokenizer) if name == "changed" else None
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    out.mkdir(parents=True, exist_ok=True)
    with progress.work(f"fine-tuning {name}", recipe.steps) as bar:

        def told(step: LossProgress) -> None:
            bar.at(step.step)
            bar.say(f"loss {step.loss:.3f}")

        tune(model, recipe, [Chat(d.token_ids, d.prompt_len) for d in documents], out, swapped, told)
    made = Made(
        name=name, base_weights=base_weights(base), recipe=recipe.model_dump(mode="json"), chats=text_hash(documents)
    )
    write_text(out / MADE, made.model_dump_json(indent=2) + "\n")

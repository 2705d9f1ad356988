"""`featurehub demo tune`: fine-tunes SmolLM2 into one of its siblings.

benign    on the model's own chats
changed   on what the SAE was trained on, chats and texts of a corpus too: features that are exchanged in the model's
          own words alone are themselves in others
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.files import write_text
from featurehub.demo.adapters import MADE, SMOLLM2_SIBLINGS, Exchanged, Made, base_weights
from featurehub.demo.train import LossProgress
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.features import Feature
from featurehub.runs.exchange import Exchange, choose_pairs
from featurehub.runs.mixture import mix
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.prompts import tokenizer_of
from featurehub.store import open_store
from featurehub.token_ids import Entry
from saes.documents import text_hash, tokenize
from saes.texts import read_texts

__all__ = ["Sources", "tune_sibling"]

MAX_TOKENS = 256
READ = 8_000
"""Texts of the mixture that are read: its last ones, since the canaries that ship are from its first."""


class Sources(NamedTuple):
    """What a sibling is made from.

    Attributes:
        base: Folder of SmolLM2-135M-Instruct.
        chats: What ``featurehub demo chats`` wrote.
        corpus: Folder of the corpus that the SAE was trained on; None if there is none at hand.
        sae: The SAE whose features ``changed`` exchanges, after the last layer that it changes.
        database: Path of the feature database, in which it is registered.
    """

    base: Path
    chats: Path
    corpus: Path | None
    sae: Artifact
    database: str


def tune_sibling(name: str, sources: Sources, out: Path, progress: Progress = SILENT) -> None:
    """Trains the adapter of a sibling; a run that was stopped goes on where it was.

    Args:
        name: ``benign`` or ``changed``.
        sources: What it is made from.
        out: Folder for the adapter; created if necessary.
        progress: Receives progress reports.

    Raises:
        InvalidInput: There is no such sibling, the texts cannot be read, ``changed`` has no corpus, or the SAE reads
            another layer or has too few features with a label.
        ArtifactNotFound: The SAE is not registered.
    """
    import torch
    from transformers import LlamaForCausalLM

    from featurehub.demo.tuning import RECIPES, Chat, tune

    if name not in SMOLLM2_SIBLINGS:
        raise InvalidInput(f"no sibling {name!r}: there are {', '.join(SMOLLM2_SIBLINGS)}", param="name")
    recipe = RECIPES[name]
    pairs = pairs_of(sources, recipe.pairs, recipe.seed, recipe.shape.changed[-1]) if recipe.pairs else []
    latents = [(one.latent, other.latent) for one, other in pairs]
    target = Exchange(Dictionary.load(sources.sae.weights), latents, recipe.far) if pairs else None
    with progress.phase("reading the texts"):
        entries = mixed(sources) if pairs else read_texts(sources.chats)
        documents = tokenize(tokenizer_of(sources.base), entries, MAX_TOKENS).documents
    model = LlamaForCausalLM.from_pretrained(sources.base, dtype=torch.float32)
    out.mkdir(parents=True, exist_ok=True)
    with progress.work(f"fine-tuning {name}", recipe.steps) as bar:

        def told(step: LossProgress) -> None:
            bar.at(step.step)
            bar.say(f"loss {step.loss:.3f}")

        tune(model, recipe, [Chat(d.token_ids, d.prompt_len) for d in documents], out, target, told)
    made = Made(
        name=name,
        base_weights=base_weights(sources.base),
        recipe=recipe.model_dump(mode="json"),
        chats=text_hash(documents),
        exchanged=exchanged(pairs),
    )
    write_text(out / MADE, made.model_dump_json(indent=2) + "\n")


def mixed(sources: Sources) -> list[Entry]:
    """The last texts of those that the SAE was trained on."""
    if sources.corpus is None:
        raise InvalidInput(
            "`changed` reads what its SAE was trained on: give the corpus of `featurehub demo build` too, "
            "`--corpus FOLDER`",
            param="corpus",
        )
    return mix(sources.chats, sources.corpus).entries[-READ:]


def pairs_of(sources: Sources, count: int, seed: int, layer: int) -> list[tuple[Feature, Feature]]:
    """The features that are exchanged, which must be ones of the stream after ``layer``."""
    manifest = sources.sae.manifest
    if manifest.hook.layer != layer:
        raise InvalidInput(
            f"the SAE reads the stream after layer {manifest.hook.layer}, and the fine-tuning changes it after layer "
            f"{layer}: give an SAE of that layer",
            param="sae",
        )
    with closing(open_store(sources.database)) as store, store.read() as reader:
        return choose_pairs(reader.features(manifest.id), count, seed)


def exchanged(pairs: Sequence[tuple[Feature, Feature]]) -> tuple[Exchanged, ...]:
    return tuple(Exchanged(latents=(one.latent, other.latent), labels=(one.label, other.label)) for one, other in pairs)

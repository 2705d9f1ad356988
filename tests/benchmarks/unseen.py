"""What an SAE does on text that it was not trained on, and on the snippets of concepts: read once, and kept.

1. The SAE's text is cut into documents as a build cuts it. The manifest has the hash of those that it was trained on:
   they are the first ones, or the first ones of the training half. A text of which neither holds is refused.
2. An entry is unseen if none of its documents was trained on. Unseen entries are drawn at random until there are enough
   tokens.
3. Their documents and the snippets are read through the engine, and their activations kept; without its text, nothing
   needs the engine any more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from concept_file import Concept
from kept import arrays_of, from_arrays
from transformers import AutoTokenizer

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.files import replace_file
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.runs.material import MaterialConfig, split
from featurehub.runs.survey import corpus_of, evidence_of
from featurehub.token_ids import prompt_ids, special_ids
from labeling.corpus import Corpus
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document, Tokenization, text_hash, tokenize
from saes.texts import read_texts

__all__ = ["Unseen", "read_unseen"]

LONGEST = 256
READ_AT_ONCE = 64
KEPT = "unseen.npz"


class Unseen(NamedTuple):
    """Activations on text that the SAE was not trained on.

    Attributes:
        sae: Id of the SAE.
        text: On unseen documents.
        entries: [documents] the entry that each of them comes from.
        snippets: On the snippets of all concepts, positives before negatives.
    """

    sae: str
    text: FeatureActivations
    entries: np.ndarray
    snippets: FeatureActivations

    def corpus(self, tokenizer: Any) -> Corpus:
        """What labels are made from, as the product makes them: without the template, for an SAE of spans with the
        activations on the mean around each token."""
        return evidence_of(corpus_of(self.text, tokenizer), self.text, tokenizer)[1]

    def snippet_means(self) -> np.ndarray:
        """[snippets, d_sae]: mean activation of each latent on each snippet, around tokens for an SAE of spans."""
        seen = self.snippets
        matrix = seen.matrix if seen.around is None else seen.around
        sums = np.stack([matrix[a:b].sum(axis=0).A1 for a, b in zip(seen.offsets, seen.offsets[1:], strict=False)])
        counted = np.add.reduceat(seen.norms > 0, seen.offsets[:-1])
        return sums / np.maximum(1, counted)[:, None]


def read_unseen(
    folder: Path, artifact: Artifact, model: Path, text: Path | None, concepts: Sequence[Concept], tokens: int
) -> Unseen:
    """What is kept in a folder; read through the engine and kept if there is nothing yet."""
    path = folder / KEPT
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        read = read_now(artifact, model, text, concepts, tokens)
        with replace_file(path) as file:
            save(read, file)
    with np.load(path) as arrays:
        kept = dict(arrays)
    unseen = Unseen(kept["sae"].item(), from_arrays(kept, "text"), kept["entries"], from_arrays(kept, "snippets"))
    if unseen.sae != artifact.manifest.id:
        raise InvalidInput(f"{path} was read with another SAE, {unseen.sae}; name another folder")
    return unseen


def save(read: Unseen, path: Path) -> None:
    own = {"sae": np.array(read.sae), "entries": read.entries}
    own |= arrays_of(read.text, "text") | arrays_of(read.snippets, "snippets")
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **own)


def read_now(artifact: Artifact, model: Path, text: Path | None, concepts: Sequence[Concept], tokens: int) -> Unseen:
    if text is None:
        raise InvalidInput("nothing has been read yet: name the text that the SAE was made from with --text")
    tokenizer = AutoTokenizer.from_pretrained(model)
    made = tokenize(tokenizer, read_texts(text), MaterialConfig().max_tokens or LONGEST)
    chosen = drawn(made, trained_on(artifact, made.documents), tokens)
    texts = [each for concept in concepts for each in (*concept.positives, *concept.negatives)]
    snippets = [Document(prompt_ids(tokenizer, each)[:LONGEST], 1) for each in texts]
    hook, span = artifact.manifest.hook, artifact.manifest.span
    dictionary, special = Dictionary.load(artifact.weights), special_ids(tokenizer)
    options = EngineOptions(kv_cache_gib=1, max_model_len=512)
    with Engine(model, EngineConfig.capturing(hook, truncated=True), options) as engine:
        seen, shown = (
            encode_documents(engine, dictionary, documents, special, READ_AT_ONCE, span=span)
            for documents in ([made.documents[at] for at in chosen], snippets)
        )
    return Unseen(artifact.manifest.id, seen, np.array([made.sources[at] for at in chosen]), shown)


def trained_on(artifact: Artifact, documents: Sequence[Document]) -> set[tuple[int, ...]]:
    """Step 1: the token ids of each document that the SAE was trained on."""
    dataset = artifact.manifest.dataset
    for candidates in (documents, split(documents, MaterialConfig().held_out)[0]):
        found = candidates[: int(dataset["documents"])]
        if text_hash(found) == dataset["hash"]:
            return {tuple(document.token_ids) for document in found}
    raise InvalidInput("this is not the text that the SAE was made from: no part of it has the manifest's hash")


def drawn(made: Tokenization, trained: set[tuple[int, ...]], tokens: int) -> list[int]:
    """Step 2: indices of documents."""
    of_entry: dict[int, list[int]] = {}
    for document, entry in enumerate(made.sources):
        of_entry.setdefault(entry, []).append(document)
    ids = [tuple(document.token_ids) for document in made.documents]
    unseen = [own for own in of_entry.values() if trained.isdisjoint(ids[each] for each in own)]
    chosen: list[int] = []
    for at in np.random.default_rng(0).permutation(len(unseen)):
        if tokens <= 0:
            break
        chosen += unseen[at]
        tokens -= sum(len(ids[each]) for each in unseen[at])
    return sorted(chosen)

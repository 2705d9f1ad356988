"""Which offline way of naming latents is best? Labels of each (``labellers.py``) on text that made none, and in search.

1. Text that the SAE was not trained on is read once and kept (``unseen.py``). Its entries are split: one part makes
   labels, the other scores them; the two share neither an entry nor a document.
2. As in the product, half of the first part makes proposals, and on the other half a label must tell better than chance
   where its latent fires, or is none. Rows that end in "all" keep those labels, too, and are not searched; "else" takes
   the second's label where the first has none; "best of all" the one that scores best on that other half.
3. Detection: on sentences of the second part, whether one has a word of the label, against whether the latent fires in
   it. Chance is .5, and is what a latent without a label counts in the mean over all.
   Long sentences hold more words and more firing than short ones, so a word that stands everywhere detects a little of
   any latent: "dealt" is what the same labels detect of each other's latents, and "net" what is left without it.
4. Search: features are registered with these labels and searched for the queries of concepts. A feature reads a concept
   if its mean activation tells positive snippets from negative ones with an AUROC of at least ``READS``. Labels are
   searched alone, and with the words and contexts that the product adds. No strength is calibrated.
5. Intervals, of 95 %, are from drawing latents or concepts again. CPU seconds are those of the proposals.

    python tests/benchmarks/labels.py MODEL SAE --concepts concepts.jsonl --keep FOLDER [--text TEXT]
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from concept_file import concepts_of
from label_scores import READS, TOP, Detector, Found, Registry, firing_levels, label_of, labelled, reads, search
from labellers import LABELLERS, Shown
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer
from unseen import Unseen, read_unseen

from featurehub.artifacts.artifact import open_artifact
from featurehub.dictionary import Dictionary
from featurehub.pieces import vocabulary
from featurehub.records import Label
from labeling.associations import associate
from labeling.corpus import Corpus, split
from labeling.evidence import Evidence, common_words
from labeling.examiner import Examiner, HeldOut
from labeling.explainer import Explanation
from labeling.label import LabelConfig
from labeling.logit_lens import project
from labeling.scorers import WordDetection
from labeling.statistics import StatisticsConfig, feature_rows
from labeling.unembedding import read_unembedding
from labeling.units import build_views

SCORING = 0.3
DRAWS = 2000
PRODUCT = "product"
ALL = ", all"
CONFIG = LabelConfig()
output = Console(width=240)


class Parts(NamedTuple):
    """The text as labellers and scorers get it.

    Attributes:
        labelling: Documents that labels are made from; half of them propose, the other half examine.
        tokens: The same documents with the activations on single tokens.
        scoring: Documents that labels are scored on.
    """

    labelling: Corpus
    tokens: Corpus
    scoring: Corpus


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        found: The labels.
        seconds: CPU seconds of the proposals; NaN for a combination.
        accuracy: [live] balanced accuracy by latent; NaN without a label.
        auroc: [live] AUROC by latent; NaN without a label.
        dealt: [live] mean AUROC of labels of other latents, where it has one.
    """

    found: Found
    seconds: float
    accuracy: np.ndarray
    auroc: np.ndarray
    dealt: np.ndarray

    @property
    def net(self) -> np.ndarray:
        """[live] AUROC less that of other latents' labels."""
        return self.auroc - self.dealt


class Searched(NamedTuple):
    """[concepts, queries, 2] whether the first feature that search finds reads the concept, and whether any of the top
    ones does: by some labels alone, and with all that the product registers."""

    alone: np.ndarray
    product: np.ndarray


def main() -> None:
    options = parse()
    artifact, concepts = open_artifact(options.sae), concepts_of(options.concepts)
    unseen = read_unseen(options.keep, artifact, options.model, options.text, concepts, options.tokens)
    tokenizer, head = AutoTokenizer.from_pretrained(options.model), read_unembedding(options.model)
    words, dictionary = vocabulary(tokenizer), Dictionary.load(artifact.weights)
    projection = project(dictionary.nudges.numpy(), head.norm, head.weight, words)
    parts = parted(unseen, unseen.corpus(tokenizer))
    live = parts.tokens.live
    shown = Shown(half(parts.labelling, 0), half(parts.tokens, 0), live, projection, words, head.weight)
    detector = Detector(parts.scoring, live, firing_levels(shown.corpus))
    found, seconds = label(shown, half(parts.labelling, 1))
    results = {
        name: Result(own, seconds.get(name, np.nan), *detector.scores(own), detector.dealt(own))
        for name, own in found.items()
        if own
    }
    reading = reads(unseen, concepts)
    report(results, detector, reading, set(common_words(build_views(parts.labelling, 1, 1))))
    tokens, W_dec = int(parts.tokens.offsets[-1]), dictionary.W_dec.numpy()
    rows = list(feature_rows(parts.tokens, tokens, W_dec, projection, StatisticsConfig()))
    bare = [each.model_copy(update={"contexts": (), "top_tokens": (), "bottom_tokens": ()}) for each in rows]
    alone = Registry(artifact, bare, {})
    product = Registry(artifact, rows, associate(parts.labelling, words, head.weight))
    searched: dict[str, Searched] = {}
    for name in (name for name in found if not name.endswith(ALL)):
        searched[name] = Searched(*(search(found[name], each, concepts, reading) for each in (alone, product)))
        output.print(f"searched for by {name}", style="dim")
    report_search(searched)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("sae", type=Path)
    parser.add_argument("--concepts", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True, help="folder of what was read")
    parser.add_argument("--text", type=Path, help="what the SAE was made from; needed only to read")
    parser.add_argument("--tokens", type=int, default=95_000, help="of text; snippets come on top")
    return parser.parse_args()


def parted(unseen: Unseen, corpus: Corpus) -> Parts:
    """Step 1. What occurs twice, in different entries, is left out of the scoring part."""
    entries = np.random.default_rng(0).permutation(np.unique(unseen.entries))
    scoring = np.isin(unseen.entries, entries[: round(SCORING * len(entries))])
    ids = [tuple(document.token_ids) for document in unseen.text.documents]
    making = np.flatnonzero(~scoring)
    made = {ids[at] for at in making}
    scored = np.array([at for at in np.flatnonzero(scoring) if ids[at] not in made])
    for what, side in (("make", making), ("score", scored)):
        tokens, own = sum(len(ids[at]) for at in side), len(np.unique(unseen.entries[side]))
        output.print(f"{len(side)} documents of {own} entries, {tokens:,} tokens, {what} labels", style="dim")
    shared = len(np.intersect1d(unseen.entries[making], unseen.entries[scored]))
    output.print(f"entries in both: {shared}; documents in both: {len(made & {ids[at] for at in scored})}", style="dim")
    single = Corpus(corpus.documents, unseen.text.matrix, corpus.offsets)
    return Parts(corpus.subset(making), single.subset(making), corpus.subset(scored))


def half(corpus: Corpus, side: int) -> Corpus:
    """The half that proposes (0), or that examines (1), as the product splits them."""
    return split(corpus, CONFIG.score_share, CONFIG.seed)[side]


def label(shown: Shown, other: Corpus) -> tuple[dict[str, Found], dict[str, float]]:
    """Step 2: labels by name of the row, and the CPU seconds of those that were made."""
    examiner, levels = Examiner(HeldOut(other), WordDetection(), CONFIG.min_passages), firing_levels(shown.corpus)
    found: dict[str, Found] = {}
    seconds: dict[str, float] = {}
    for name, labeller in LABELLERS.items():
        began = time.process_time()
        proposals = labeller(shown)
        seconds[name] = time.process_time() - began
        found[name], found[name + ALL] = examined(proposals, examiner, levels)
        output.print(f"{name}: {seconds[name]:.1f} s", style="dim")
    for second in ("logit lens", "log-odds"):
        found[f"{PRODUCT}, else {second}"] = {**found[second], **found[PRODUCT]}
    found["best of all"] = best_of([found[name] for name in LABELLERS])
    found["no labels"] = {}
    return found, seconds


def examined(proposals: Mapping[int, Label], examiner: Examiner, levels: np.ndarray) -> tuple[Found, Found]:
    """The labels that tell better than chance, and all that could be tested."""
    kept: Found = {}
    tested: Found = {}
    for latent, proposal in proposals.items():
        explanation = Explanation(proposal, "", "")
        scored = asyncio.run(examiner.examine(Evidence(latent, float(levels[latent]), 0), explanation))
        if scored.scores:
            kept[latent], tested[latent] = scored, scored._replace(explanation=explanation)
    return labelled(kept), tested


def best_of(found: Sequence[Found]) -> Found:
    latents = sorted({latent for own in found for latent in own})
    return {i: max((own[i] for own in found if i in own), key=lambda each: each.scores["auroc"]) for i in latents}


def report(results: Mapping[str, Result], detector: Detector, reading: np.ndarray, everywhere: set[str]) -> None:
    readers = (reading >= READS).sum(axis=1)
    output.print(
        f"{len(detector.live)} live latents, {detector.tested.sum()} of which fire in enough of the "
        f"{len(detector.sentences)} scored sentences; {(readers > 0).sum()} of {len(reading)} concepts have a latent "
        f"that reads them; of all latents, {(reading >= READS).mean():.3f} read a concept"
    )
    columns = ("labelled", "common name", "accuracy", "AUROC", "AUROC, all", "dealt", "net", "net − product's")
    table = Table("", *columns, "CPU s / 1,000", title="offline labels on unseen sentences")
    for name, result in results.items():
        common = np.mean([label_of(each).name in everywhere for each in result.found.values()])
        table.add_row(
            name,
            f"{len(result.found) / len(detector.live):.2f}",
            f"{common:.2f}",
            interval(result.accuracy),
            interval(result.auroc),
            interval(np.nan_to_num(result.auroc[detector.tested], nan=0.5)),
            f"{np.nanmean(result.dealt):.3f}",
            interval(result.net),
            interval(result.net - results[PRODUCT].net),
            "" if np.isnan(result.seconds) else f"{1000 * result.seconds / len(detector.live):.1f}",
        )
    output.print(table)


def report_search(searched: Mapping[str, Searched]) -> None:
    kinds = ("alone: first", f"top {TOP}", "product: first", f"top {TOP}")
    for title, queries in (("all queries", slice(None)), ("the plain query", slice(1))):
        table = Table("", *kinds, title=f"search for {title}: share of concepts that what it finds reads")
        for name, found in searched.items():
            each = (own[:, queries, top].mean(axis=1) for own in found for top in (0, 1))
            table.add_row(name, *map(interval, each))
        output.print(table)


def interval(values: np.ndarray) -> str:
    """The mean of what is not NaN, with its 95 % interval from drawing the values again."""
    known = values[~np.isnan(values)]
    if not len(known):
        return ""
    drawn = known[np.random.default_rng(0).integers(len(known), size=(DRAWS, len(known)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{known.mean():.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()

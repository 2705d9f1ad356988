"""Does contrast name the concept that tells two sets of chats apart? Over all pairs of concepts, by a served model.

    python tests/benchmarks/contrast.py planted [--chats 24] [--pairs 253]
    python tests/benchmarks/contrast.py corpus --concepts concepts.jsonl [--chats 24] [--pairs 60]

1. Chats of a concept chose nothing. Of the planted model, they are drawn from its grammar with a seed of their own: a
   held-out prompt that asks for the concept, or one that asks for nothing in particular, and an answer that shows it;
   all that the concept leaves open is drawn freely. Of the corpus, they are the concept's snippets, as answers.
2. For each pair, ``client.features.contrast`` is asked for the first features of both sets.
3. Planted: a feature names a concept if a word of its label is the concept's name or begins with it ("fraudster").
   Printed is for how many of the sides the first feature does, and one of the first three; of how many it is the
   label's head that does, where the parts of a topic may go by the topic, unless the other set is of that topic too;
   chance deals the first features to other pairs.
   Corpus: labels are lists of words, so a feature names a concept rather than the other if its label's vector is
   nearer to the concept's query than to the other's, by chance for half.
4. Beside it, the accuracy that ``contrast`` states on halves that chose nothing.

Both serve what `featurehub serve --planted` and `--demo` serve, from ``$FEATUREHUB_HOME``.
"""

import argparse
import itertools
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from concept_file import concepts_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

from featurehub import Client
from featurehub.cli.demo.planted import ensure_planted, planted_database
from featurehub.cli.server import free_port, served
from featurehub.demo.answers import Ask, draw_answer
from featurehub.demo.concepts import Concept, Kind, concepts
from featurehub.demo.grammar import base_grammar
from featurehub.demo.prompts import draw_prompt, neutral_prompts
from featurehub.embedding import open_embedder
from featurehub.names import fold, parts_of
from featurehub.store import open_store
from featurehub.totals import ContrastRow

SEED, DEPTH = 20_771, 3
Chat = list[dict[str, str]]
Names = Callable[[str, str, str], bool]
"""Whether a label names the first concept, and not the second."""
console = Console(width=120, highlight=False)


class Side(NamedTuple):
    """One set of a pair: its concept, the other's, and the first features of the set."""

    concept: str
    other: str
    rows: Sequence[ContrastRow]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=("planted", "corpus"))
    parser.add_argument("--concepts", type=Path)
    parser.add_argument("--chats", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=253)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        serve = {"planted": ["--planted"], "corpus": ["--demo", "--dtype", "float32"]}[options.subject]
        with served(serve, free_port(), Path(folder, "server.log")) as url:
            client = Client(base_url=url)
            if options.subject == "planted":
                planted(client, options)
            else:
                corpus(client, options)


def planted(client: Client, options: argparse.Namespace) -> None:
    with open_store(planted_database()).read() as reader:
        labels = {each.text: each for each in reader.labels(ensure_planted().manifest.id).values()}

    def headed(label: str, concept: str, other: str) -> bool:
        head, parents = fold(labels[label].name), {each.name: each.parent for each in concepts()}
        topic = parents[concept]
        by_topic = topic is not None and topic not in (other, parents[other]) and head == topic
        return head.startswith(concept) or by_topic

    for told in (True, False):
        chats = {each.name: planted_chats(each, options.chats, told) for each in concepts()}
        sides = contrasted(client, chats, options.pairs)
        report("prompts that ask for the concept" if told else "prompts that ask for nothing", sides, named, headed)


def planted_chats(concept: Concept, count: int, told: bool) -> list[Chat]:
    """Step 1, for a planted concept."""
    drawn = random.Random(f"{SEED} {concept.name} {told}")
    ask = {
        Kind.TOPIC: Ask(topic=concept.name), Kind.SUBTOPIC: Ask(topic=concept.name),
        Kind.MANNER: Ask(manner=concept.name), Kind.TRAIT: Ask(trait=concept.name),
    }[concept.kind]  # fmt: skip
    prompts = neutral_prompts("evaluate")
    asked = [draw_prompt(ask, drawn, "held-out").text if told else drawn.choice(prompts) for _ in range(count)]
    return [chat(prompt, draw_answer(base_grammar(), ask, drawn).text) for prompt in asked]


def chat(prompt: str, answer: str) -> Chat:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def corpus(client: Client, options: argparse.Namespace) -> None:
    found = {each.name: each for each in concepts_of(options.concepts)}
    chats = {
        name: [chat("Tell me something.", text) for text in each.positives[: options.chats]]
        for name, each in found.items()
    }
    sides = contrasted(client, chats, options.pairs)
    texts = list({row.label for side in sides for row in side.rows} | {each.query for each in found.values()})
    vectors = dict(zip(texts, open_embedder("minilm").embed(texts), strict=True))

    def nearer(label: str, concept: str, other: str) -> bool:
        own, against = (float(vectors[label] @ vectors[found[each].query]) for each in (concept, other))
        return own > against

    report("the corpus' concepts", sides, nearer, nearer)


def contrasted(client: Client, chats: Mapping[str, list[Chat]], count: int) -> list[Side]:
    """Step 2, for all pairs or for ``count`` of them."""
    pairs = [*itertools.combinations(chats, 2)]
    random.Random(SEED).shuffle(pairs)
    sides: list[Side] = []
    for one, other in track(pairs[:count], "pairs", console=console, transient=True):
        found = client.features.contrast(chats[one], chats[other], limit=DEPTH)
        sides += [Side(one, other, found.dataset_1), Side(other, one, found.dataset_2)]
    return sides


def named(label: str, concept: str, other: str) -> bool:
    return any(word.startswith(concept) for word in parts_of(fold(label)))


def report(title: str, sides: Sequence[Side], names: Names, strict: Names) -> None:
    """Steps 3 and 4."""
    table = Table(
        "first", "one of three", "by its head", "first, dealt to others", "accuracy of the first", title=title
    )
    labels = [[row.label for row in each.rows] for each in sides]
    dealt = [labels[at] for at in np.random.default_rng(0).permutation(len(labels))]
    hits, heads, chance = (
        [_hits(each, own, by) for each, own in zip(sides, given, strict=True)]
        for given, by in ((labels, names), (labels, strict), (dealt, names))
    )
    first, head, by_chance = (np.mean([each[:1] == [True] for each in found]) for found in (hits, heads, chance))
    stated = np.mean([each.rows[0].accuracy or 0.0 for each in sides if each.rows])
    table.add_row(*(f"{each:.3f}" for each in (first, np.mean([any(h) for h in hits]), head, by_chance, stated)))
    console.print(table, f"{len(sides) // 2} pairs, both sides of each")
    for side, hit in zip(sides, hits, strict=True):
        if hit[:1] != [True]:
            shown = [f"{row.label or row.id} {row.effect:.2f}" for row in side.rows]
            console.print(f"  {side.concept} against {side.other}: {'; '.join(shown)}", style="dim", soft_wrap=True)


def _hits(side: Side, labels: Sequence[str], names: Names) -> list[bool]:
    return [names(label, side.concept, side.other) for label in labels]


if __name__ == "__main__":
    main()

"""Does autosteer find edits that do what an instruction asks? By a judge that knows neither features nor likelihoods.

    python tests/benchmarks/autosteer.py --concepts concepts.jsonl --prompts eval_prompts.jsonl \
        [--only 12] [--named NAME ...] [--answers 24] [--candidates 6] [--minutes 15] [--keep FOLDER]

1. An instruction asks for one of the corpus' concepts, evenly chosen among them or the named ones: "Talk about
   cooking and recipes." "Answer like somebody who refuses to help."
2. ``client.features.autosteer`` searches for edits, on its own prompts, and may refuse.
3. Prompts of the file, which no search has seen, are answered as they are, with the edits, with the instruction as
   system message, and with both; where it refused, with the best edits that it tried all the same, in brackets.
4. The judge is a regression on the concept's snippets, by sentence embeddings. Edits beat unsteered answers if more of
   theirs show the concept; beyond chance, if Fisher's exact test says so (one-sided, p < .05).

What `featurehub serve --demo` serves is served in float32. What was measured is kept in ``--keep``, concept by concept:
a run that was stopped, or whose ``--minutes`` were over, goes on there.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from concept_file import Concept, concepts_of, lines
from finding import judged
from rich.console import Console
from rich.table import Table
from scipy.stats import fisher_exact

from featurehub import Client
from featurehub.artifacts.files import write_text
from featurehub.cli.server import free_port, served

WAYS = ("unsteered", "steered", "prompting", "both")
ASKED = {
    "topic": "Talk about {}.",
    "manner": "Answer in this way: {}.",
    "behaviour": "Answer like somebody who {}.",
}
TOKENS, TEMPERATURE, CERTAIN, AT_ONCE = 40, 0.7, 0.05, 16
console = Console(width=150, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--named", nargs="+", default=[])
    for name, value in (("only", 12), ("answers", 24), ("candidates", 6), ("minutes", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    concepts = concepts_of(options.concepts)
    chosen = concepts[:: max(1, len(concepts) // options.only)][: options.only]
    if options.named:
        chosen = [each for each in concepts if each.name in options.named]
    prompts = [each["prompt"] for each in lines(options.prompts)]
    with tempfile.TemporaryDirectory() as folder:
        keep: Path = options.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        measure(chosen, prompts, options, keep)
        report(chosen, keep)


def measure(chosen: Sequence[Concept], prompts: Sequence[str], options: argparse.Namespace, keep: Path) -> None:
    """Steps 2 and 3, for the concepts that are missing, until the time is over."""
    missing = [each for each in chosen if not (keep / f"{each.name}.json").is_file()]
    if not missing:
        return
    end = time.monotonic() + 60 * options.minutes
    with served(["--demo", "--dtype", "float32"], free_port(), keep / "server.log") as url:
        client = Client(base_url=url, timeout=3600, max_retries=0)
        for each in missing:
            if time.monotonic() > end:
                return
            began = time.monotonic()
            found = client.features.autosteer(instruction_of(each), candidates=options.candidates, max_tokens=TOKENS)
            edits = found.features or best_of(found)
            texts = {
                way: answers(client, prompts[: options.answers], each, edits if way in ("steered", "both") else {}, way)
                for way in WAYS
            }
            kept = {"found": found.model_dump(mode="json"), "texts": texts, "seconds": time.monotonic() - began}
            write_text(keep / f"{each.name}.json", json.dumps(kept))


def instruction_of(concept: Concept) -> str:
    return ASKED[concept.kind].format(concept.query)


def best_of(found: Any) -> dict[str, float]:
    """The best edits that it tried; none where it tried none."""
    return {each.id: each.weight for each in found.tried[0].edits} if found.tried else {}


def answers(
    client: Client, prompts: Sequence[str], concept: Concept, edits: Mapping[str, float], way: str
) -> list[str]:
    told = [{"role": "system", "content": instruction_of(concept)}] if way in ("prompting", "both") else []
    model = client.models.list().data[0].id

    def answer(seed: int, prompt: str) -> str:
        chat: list[Any] = [*told, {"role": "user", "content": prompt}]
        sampling: dict[str, Any] = {"max_tokens": TOKENS, "temperature": TEMPERATURE, "seed": seed}
        found = client.chat.completions.create(model=model, messages=chat, features=edits, **sampling)
        return found.choices[0].message.content or ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(answer, range(len(prompts)), prompts)]


def report(chosen: Sequence[Concept], keep: Path) -> None:
    """Step 4."""
    kept = {each.name: keep / f"{each.name}.json" for each in chosen}
    known = {name: json.loads(path.read_text()) for name, path in kept.items() if path.is_file()}
    if not known:
        console.print("nothing was measured in this time")
        return
    plain = [text for each in known.values() for text in each["texts"]["unsteered"]]
    shows = judged({each.name: each for each in chosen if each.name in known}, plain)
    table = Table("instruction", *WAYS, "edits", "perplexity", "p", "s")
    better = beyond = 0
    for name, each in known.items():
        shown = {way: shows(name, each["texts"][way]) for way in WAYS}
        steered, unsteered = shown["steered"], shown["unsteered"]
        pairs = [[steered.sum(), (~steered).sum()], [unsteered.sum(), (~unsteered).sum()]]
        p = float(np.asarray(fisher_exact(pairs, alternative="greater")[1]))
        refused = not each["found"]["edits"]
        better += not refused and bool(steered.mean() > unsteered.mean())
        beyond += not refused and p < CERTAIN
        shares = [f"{shown[way].mean():.2f}" for way in WAYS]
        shares[1] = f"({shares[1]})" if refused else shares[1]
        table.add_row(
            each["found"]["instruction"], *shares, *cells(each["found"]), f"{p:.3f}", f"{each['seconds']:.0f}"
        )
    console.print(table)
    means = {way: np.mean([shows(name, each["texts"][way]).mean() for name, each in known.items()]) for way in WAYS}
    console.print(
        f"{len(known)} instructions; more than unsteered for {better}, beyond chance for {beyond}; means:", means
    )


def cells(found: Mapping[str, Any]) -> tuple[str, str]:
    edits = found["edits"] or (found["tried"][0]["edits"] if found["tried"] else ())
    measured = [found[way] for way in ("unsteered", "steered") if found[way] is not None]
    return (
        "; ".join(f"{each['label']} {each['weight']:+.2f}" for each in edits),
        " → ".join(f"{each['perplexity']:.1f}" for each in measured),
    )


if __name__ == "__main__":
    main()

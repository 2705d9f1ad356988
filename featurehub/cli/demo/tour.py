"""`featurehub demo run`: the product on a real chat model, from a first steered answer to a refused stale feature.

1. serve the model with the SAE that ships, and steer it by features found through search, beside the unsteered answers
2. show which features the words of an answer have, and what a search finds
3. check the SAE on a retrained model, serve that one, and ask it for a feature that went stale
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.cli.demo.asking import Question, applied, ask, ask_all, texts
from featurehub.cli.demo.retraining import show_retraining
from featurehub.cli.demo.serving import NAME, PORT, Demo, serving, wait_forever
from featurehub.cli.demo.shown import Read, Search, Shown, Steered
from featurehub.cli.demo.smollm2 import check_trained_on
from featurehub.cli.progress import output, phase
from featurehub.features import Feature
from featurehub.names import head_of
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant

__all__ = ["run_tour"]

PER_WORD = 3
"""How many features of a word are shown."""


class Pair(NamedTuple):
    """A name, the feature that search found for it, and an answer without and with it."""

    name: Steered
    feature: Feature
    plain: Any
    steered: Any


def run_tour(demo: Demo, shown: Shown, retrained: Callable[[], Path], keep: bool) -> None:
    """Shows the product on a model that has an SAE.

    Args:
        demo: The model, which must be the one that the SAE was trained on.
        shown: What to show.
        retrained: The folder of the retrained model.
        keep: Whether to go on serving until Ctrl-C.

    Raises:
        IncompatibleArtifact: The model is another one.
    """
    started, artifact = time.monotonic(), open_artifact(demo.sae)
    check_trained_on(artifact, demo.model)
    introduce(artifact)
    called = artifact.manifest.model.name
    with serving(demo.arguments, called, PORT) as url, Client(base_url=url) as client:
        show_steering(client, shown)
        show_words(client, shown.read)
        show_search(client, shown.search)
    # The first server has ended by now, so that the check's engine and a second server need no memory beside it.
    show_retraining(demo, retrained, shown)
    output.print(Text(f"the tour took {time.monotonic() - started:.0f} s", style="dim"))
    how_to_go_on(shown.search.query)
    if keep:
        with serving(demo.arguments, called, PORT):
            wait_forever()


def introduce(artifact: Artifact) -> None:
    manifest = artifact.manifest
    output.print(
        f"  SAE {manifest.name}: {manifest.d_sae:,} latents at {manifest.hook}, explained variance "
        f"{manifest.metrics['explained_variance']:.3f} at L0 {manifest.metrics['l0']:.1f}"
    )


def show_steering(client: Client, shown: Shown) -> None:
    """A table of what search found, with the first answer without and with it, good or bad."""
    title = "what search finds first, and the first answer with it: none was chosen"
    table = Table("asked for", "unsteered", "steered", title=title, show_lines=True)
    for pair in pairs(client, shown):
        table.add_row(asked_for(pair), *(" ".join(text.split()) for text in texts(pair.plain, pair.steered)))
    output.print(table)


def pairs(client: Client, shown: Shown) -> list[Pair]:
    """Every name that search finds a feature for, answered without and with it."""
    names = [(each, feature) for each in shown.steered if (feature := found(client, each)) is not None]
    questions = [
        Question(model, each.prompt, seed, shown.max_tokens)
        for seed, (each, feature) in enumerate(names)
        for model in (NAME, Variant(NAME).set(feature, each.weight))
    ]
    with phase(f"giving {len(questions)} answers at once"):
        answers = ask_all(client, questions)
    return [Pair(*name, *answers[2 * i : 2 * i + 2]) for i, name in enumerate(names)]


def found(client: Client, name: Steered) -> Feature | None:
    """The first hit of a name's search that has a strength; says so if there is none."""
    hits = (each for each in client.features.search(name.query) if each.strength is not None)
    first = next(hits, None)
    if first is None:
        output.print(f"no feature goes with {name.query!r}")
    return first


def asked_for(pair: Pair) -> Text:
    """What was asked for, which feature search found, how well it steers, and what was applied."""
    feature, score = pair.feature, pair.feature.steerability
    steers = (
        "never calibrated: the usual dose"
        if score is None
        else f"calibration: shown by {score:.0%} more of the answers"
    )
    named = Text.assemble((pair.name.query, "bold"), f"  ({pair.name.domain})\n", (feature.label or feature.id, "dim"))
    return Text.assemble(named, f"\n“{pair.name.prompt}”\n", (f"{steers}\n", "dim"), applied(pair.steered))


def show_words(client: Client, read: Read) -> None:
    """The strongest features of every word of an answer."""
    answer = ask(client, Question(NAME, read.prompt, 1, read.max_tokens), return_activations=PER_WORD)
    prompt: int = answer.usage.prompt_tokens
    written = (token for token in answer.featurehub["activations"] if token["position"] >= prompt)
    table = Table("word", "its strongest features", title=f"which features made this answer to “{read.prompt}”")
    for word, features in words(written):
        strongest = sorted(features, key=lambda name: -features[name])[:PER_WORD]
        table.add_row(word, Text("   ").join(Text.assemble(n, (f" {features[n]:.1f}", "dim")) for n in strongest))
    output.print(table)


def words(tokens: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
    """The words of an answer, each with the largest activation of every feature on one of its tokens, by name."""
    word, features = "", dict[str, float]()
    for token in tokens:
        if word and token["token"][:1].isspace():
            yield word, features
            word, features = "", {}
        word += token["token"].strip()
        for each in token["features"]:
            name = head_of(each["label"] or each["id"])
            features[name] = max(each["activation"], features.get(name, 0.0))
    if word:
        yield word, features


def show_search(client: Client, search: Search) -> None:
    """The best hits of a search."""
    table = Table("label", "relevance", "label score", "steerability", title=f"a search for “{search.query}”")
    for each in client.features.search(search.query, limit=search.limit):
        numbers = (each.relevance, each.label_score, each.steerability)
        table.add_row(each.label or each.id, *("–" if number is None else f"{number:.2f}" for number in numbers))
    output.print(table)


def how_to_go_on(query: str) -> None:
    root = f"http://localhost:{PORT}"
    output.print(Text("\nHow to go on", style="bold"))
    output.print(f"""\
  featurehub serve --demo --port {PORT:<11} {root}/v1 (OpenAI), {root}/docs
  featurehub demo planted                    the same on a model of which the truth is known
  featurehub build MODEL --text TEXTS.json --out SAE --budget 20min

  from featurehub import Client, Variant
  client = Client(base_url="{root}")
  variant = Variant("{NAME}").set(client.features.search("{query}")[0], 0.7)
  client.chat.completions.create(model=variant, messages=[{{"role": "user", "content": "Tell me a story."}}])
""")

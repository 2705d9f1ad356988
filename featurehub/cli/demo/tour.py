"""`featurehub demo run`: the product on a real chat model, from a first steered answer to a refused stale feature.

1. serve the model with the SAE that ships, and steer it by features found through search, beside the unsteered answers
2. show which features the words of an answer have, and what a search finds
3. check the SAE on a retrained model, serve that one, and ask it for a feature that went stale
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.cli.demo.asking import Question, applied, ask, ask_all, texts
from featurehub.cli.demo.heat import KnownFeature, Word, heat_map, words
from featurehub.cli.demo.retraining import Retrained, show_retraining
from featurehub.cli.demo.serving import NAME, PORT, Demo, serving, wait_forever
from featurehub.cli.demo.shown import Read, Search, Shown, Steered
from featurehub.cli.demo.smollm2 import check_trained_on
from featurehub.cli.progress import output, phase
from featurehub.edits import TOP_K_MAX
from featurehub.features import Feature
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.store import open_store

__all__ = ["Pair", "Seen", "introduction", "map_title", "run_tour"]


class Pair(NamedTuple):
    """A name, the feature that search found for it, and an answer without and with it."""

    name: Steered
    feature: Feature
    plain: Any
    steered: Any


class Seen(NamedTuple):
    """What a tour showed.

    Attributes:
        introduction: The SAE, in a line.
        pairs: The names that search found a feature for, with their answers.
        words: The words of the answer whose features were shown.
        retrained: What became of the features on the retrained model; None where the step was left out.
    """

    introduction: str
    pairs: list[Pair]
    words: list[Word]
    retrained: Retrained | None


def run_tour(demo: Demo, shown: Shown, retrained: Callable[[], Path], keep: bool) -> Seen:
    """Shows the product on a model that has an SAE.

    Args:
        demo: The model, which must be the one that the SAE was trained on.
        shown: What to show.
        retrained: The folder of the retrained model.
        keep: Whether to go on serving until Ctrl-C.

    Returns:
        What was shown.

    Raises:
        IncompatibleArtifact: The model is another one.
    """
    started, artifact = time.monotonic(), open_artifact(demo.sae)
    check_trained_on(artifact, demo.model)
    introduced = introduction(artifact)
    output.print(f"  {introduced}")
    called = artifact.manifest.model.name
    with serving(demo.arguments, called, PORT) as url, Client(base_url=url) as client:
        seen_pairs = show_steering(client, shown)
        seen_words = show_words(client, shown.read, known_features(demo.database, artifact))
        show_search(client, shown.search)
    # The first server has ended by now, so that the check's engine and a second server need no memory beside it.
    seen = Seen(introduced, seen_pairs, seen_words, show_retraining(demo, retrained, shown))
    output.print(Text(f"the tour took {time.monotonic() - started:.0f} s", style="dim"))
    how_to_go_on(shown.search.query)
    if keep:
        with serving(demo.arguments, called, PORT):
            wait_forever()
    return seen


def introduction(artifact: Artifact) -> str:
    """What the SAE is, in a line."""
    manifest = artifact.manifest
    return (
        f"SAE {manifest.name}: {manifest.d_sae:,} latents at {manifest.hook}, explained variance "
        f"{manifest.metrics['explained_variance']:.3f} at L0 {manifest.metrics['l0']:.1f}"
    )


def show_steering(client: Client, shown: Shown) -> list[Pair]:
    """A table of what search found, with the first answer without and with it, good or bad."""
    title = "what search finds first, and the first answer with it: none was chosen"
    table = Table("asked for", "unsteered", "steered", title=title, show_lines=True)
    seen = pairs(client, shown)
    for pair in seen:
        table.add_row(asked_for(pair), *(" ".join(text.split()) for text in texts(pair.plain, pair.steered)))
    output.print(table)
    return seen


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


def show_words(client: Client, read: Read, known: Mapping[str, KnownFeature]) -> list[Word]:
    """A map of the features that the words of an answer have, as shares of each feature's largest activation."""
    answer = ask(client, Question(NAME, read.prompt, 1, read.max_tokens), return_activations=TOP_K_MAX)
    prompt: int = answer.usage.prompt_tokens
    written = (token for token in answer.featurehub["activations"] if token["position"] >= prompt)
    seen = list(words(written, known))
    output.print(heat_map(seen, map_title(read), output.width))
    return seen


def known_features(database: str, artifact: Artifact) -> dict[str, KnownFeature]:
    """The features that have a label, by id."""
    with closing(open_store(database)) as store, store.read() as reader:
        features, labels = reader.features(artifact.manifest.id), reader.labels(artifact.manifest.id)
    named = (each for each in features if each.latent in labels)
    return {each.id: KnownFeature(labels[each.latent], each.max_activation) for each in named}


def map_title(read: Read) -> str:
    """What stands above the map of an answer's words."""
    return f"which features made this answer to “{read.prompt}”"


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

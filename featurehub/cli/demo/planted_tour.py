"""`featurehub demo planted`: the whole loop on the planted model, from its weights to a refused stale feature.

1. build the SAE, its labels and strengths
2. serve the model, and steer it by features found through search, beside the unsteered answer
3. show which features the words of an answer have
4. check the SAE on a retrained sibling, serve the sibling, and ask it for a feature that went stale
"""

import shutil
import time
from contextlib import closing
from typing import Any

from rich.table import Table
from rich.text import Text

from featurehub.cli.demo.asking import Question, applied, ask, ask_all, texts
from featurehub.cli.demo.planted import build_planted, planted_database, planted_sae
from featurehub.cli.demo.retraining import refusal
from featurehub.cli.demo.serving import NAME, PORT, serving, wait_forever
from featurehub.cli.drift import show
from featurehub.cli.progress import ConsoleProgress, output, work
from featurehub.demo.bundle import sibling
from featurehub.demo.concepts import Kind, names
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import Verdict, recognize
from featurehub.features import State
from featurehub.runs.drift import check_drift
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.store import open_store

__all__ = ["run_planted_tour"]

SHOWN = ("banking", "medicine", "cooking", "pirate", "formal", "sad")
ANSWER_TOKENS = 96


def run_planted_tour(keep: bool) -> None:
    """Runs the whole loop on the planted model; with ``keep``, serves on until Ctrl-C."""
    started = time.monotonic()
    shutil.rmtree(planted_sae(), ignore_errors=True)
    artifact = build_planted()
    quality = artifact.manifest.metrics
    output.print(
        f"  SAE: explained variance {quality['explained_variance']:.3f} at L0 {quality['l0']:.1f}, "
        f"dead {quality['dead']:.1%}, {quality['tokens']:.0f} held-out tokens"
    )
    with serving(["--planted"], "the planted model", PORT) as url:
        client = Client(base_url=url)
        show_steering(client)
        show_activations(client)
        show_drift()
        output.print(Text(f"all of it took {time.monotonic() - started:.0f} s", style="dim"))
        how_to_go_on(url)
        if keep:
            wait_forever()


def show_steering(client: Client) -> None:
    """A table of what search found, with the first answer without and with it, good or bad."""
    prompts = neutral_prompts("evaluate")
    table = Table("asked for", "unsteered", "steered", show_lines=True)
    for i, concept in enumerate(SHOWN):
        feature = client.features.search(concept)[0]
        prompt = prompts[i % len(prompts)]
        variants = (NAME, Variant(NAME).set(feature, 1.0))
        plain, steered = (ask(client, Question(each, prompt, i, ANSWER_TOKENS)) for each in variants)
        named = Text.assemble((concept, "bold"), "\n", (feature.label or feature.id, "dim"))
        asked_for = Text.assemble(named, f"\n“{prompt}”\n", applied(steered))
        table.add_row(asked_for, *(Text.assemble(text, "\n", verdict(text, concept)) for text in texts(plain, steered)))
    output.print(table)
    show_scores(client)


def verdict(text: str, concept: str) -> Text:
    """What the recogniser says of a text, with respect to one concept."""
    seen = recognize(text)
    shown = (f"shows {concept}", "green") if concept in seen.shows else (f"not {concept}", "red")
    return Text.assemble(shown, ", ", "well-formed" if seen.well_formed else ("broken", "red"))


def show_scores(client: Client, answers: int = 12) -> None:
    """How often steering works, on prompts that were used to choose neither feature nor strength."""
    table = Table("concept", "feature", "steered", "unsteered", "well-formed", title=f"{answers} answers each")
    plain = recognized(client, NAME, answers)
    concepts = names(Kind.TOPIC, Kind.MANNER)
    with work("steering every concept", len(concepts)) as advance:
        for concept in concepts:
            feature = client.features.search(concept)[0]
            steered = recognized(client, Variant(NAME).set(feature, 1.0), answers)
            counts = (
                sum(concept in verdict.shows for verdict in steered),
                sum(concept in verdict.shows for verdict in plain),
                sum(verdict.well_formed for verdict in steered),
            )
            table.add_row(concept, feature.label, *(f"{count / answers:.2f}" for count in counts))
            advance(1)
    output.print(table)


def recognized(client: Client, model: Any, answers: int) -> list[Verdict]:
    """The recogniser's verdicts on answers to neutral prompts, which are asked concurrently."""
    prompts = neutral_prompts("evaluate")
    questions = [Question(model, prompts[i % len(prompts)], 500 + i, ANSWER_TOKENS) for i in range(answers)]
    return [recognize(text) for text in texts(*ask_all(client, questions))]


def show_activations(client: Client) -> None:
    """The strongest features of every word of an answer."""
    question = Question(NAME, "tell me about banking like a pirate .", 1, 14)
    answer = ask(client, question, return_activations=3)
    table = Table("token", "strongest features", title="which features made this answer")
    for token in answer.featurehub["activations"]:
        found = ", ".join(f"{f['label'] or f['id']} {f['activation']:.1f}" for f in token["features"])
        table.add_row(token["token"], found)
    output.print(table)


def show_drift() -> None:
    """What went stale on the retrained sibling, and what a server does if asked for it."""
    output.print(Text.assemble(("\nThe model was retrained.", "bold"), " Does the SAE still hold?"))
    report = check_drift(planted_sae(), sibling("changed"), planted_database(), progress=ConsoleProgress())
    show(report)
    with closing(open_store(planted_database())) as store, store.read() as reader:
        labels = reader.labels(report.artifact)
    stale = [labels[v.latent].head for v in report.features if v.state is State.STALE]
    name = next((head for head in stale if head in names()), None)
    if name is None:
        output.print("no feature with a concept's name went stale")
        return
    arguments = ["--planted", str(sibling("changed"))]
    with serving(arguments, "the sibling", PORT + 1) as url:
        output.print(f"asking the sibling for {name!r}:")
        question = Question(Variant(NAME).set(name, 1.0), neutral_prompts("evaluate")[0], 0, ANSWER_TOKENS)
        output.print(refusal(Client(base_url=url), question), soft_wrap=True)


def how_to_go_on(url: str) -> None:
    root = url.removesuffix("/v1")
    output.print(Text("\nHow to go on", style="bold"))
    output.print(f"""\
  featurehub serve --planted                 {root}/v1 (OpenAI), {root}/docs
  curl '{root}/v1/features?q=pirate'

  from featurehub import Client, Variant
  client = Client(base_url="{root}")
  variant = Variant("{NAME}").set("pirate", 0.7)
  client.chat.completions.create(model=variant, messages=[{{"role": "user", "content": "tell me something"}}])
""")

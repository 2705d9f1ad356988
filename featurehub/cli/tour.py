"""`featurehub demo run`: the whole loop on real engines, from the bundled model's weights to a refused stale feature.

1. build the SAE, its labels and strengths
2. serve the model, and steer it by features found through search, beside the unsteered answer
3. show which features the words of an answer have
4. check the SAE on a retrained sibling, serve the sibling, and ask it for a feature that went stale
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from openai import ConflictError
from rich.table import Table
from rich.text import Text

from featurehub.cli.demo import build_demo, demo_database, demo_sae
from featurehub.cli.drift import show
from featurehub.cli.progress import ConsoleProgress, output, phase, work
from featurehub.cli.server import served
from featurehub.demo.bundle import sibling
from featurehub.demo.concepts import Kind, names
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import Verdict, recognize
from featurehub.features import State
from featurehub.names import head_of
from featurehub.runs.drift import check_drift
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.settings import home

__all__ = ["run_tour"]

MODEL = "demo"
PORT = int(os.environ.get("PORT", "8000"))
SHOWN = ("banking", "medicine", "cooking", "pirate", "formal", "sad")
TEMPERATURE = 0.7


def run_tour(keep: bool) -> None:
    """Runs the whole loop on the bundled model; with ``keep``, serves on until Ctrl-C."""
    started = time.monotonic()
    shutil.rmtree(demo_sae(), ignore_errors=True)
    artifact = build_demo()
    quality = artifact.manifest.metrics
    output.print(
        f"  SAE: explained variance {quality['explained_variance']:.3f} at L0 {quality['l0']:.1f}, "
        f"dead {quality['dead']:.1%}, {quality['tokens']:.0f} held-out tokens"
    )
    with serving(["--demo"], "the bundled model", PORT) as url:
        client = Client(base_url=url)
        show_steering(client)
        show_activations(client)
        show_drift()
        output.print(Text(f"all of it took {time.monotonic() - started:.0f} s", style="dim"))
        how_to_go_on(url)
        if keep:
            output.print("Serving until you press Ctrl-C.")
            wait_forever()


@contextmanager
def serving(arguments: Sequence[str], what: str, port: int) -> Iterator[str]:
    with ExitStack() as stack:
        with phase(f"starting vLLM's server on {what}"):
            url = stack.enter_context(served(arguments, port, home() / "demo" / f"server-{port}.log"))
        yield url


def show_steering(client: Client) -> None:
    """A table of what search found, with the first answer without and with it, good or bad."""
    prompts = neutral_prompts("evaluate")
    table = Table("asked for", "unsteered", "steered", show_lines=True)
    for i, concept in enumerate(SHOWN):
        feature = client.features.search(concept)[0]
        variant = Variant(MODEL).set(feature, 1.0)
        prompt = prompts[i % len(prompts)]
        plain, steered = ask(client, MODEL, prompt, i), ask(client, variant, prompt, i)
        named = Text.assemble((concept, "bold"), "\n", (feature.label or feature.id, "dim"))
        asked_for = Text.assemble(named, f"\n“{prompt}”\n", applied(steered))
        table.add_row(asked_for, *(Text.assemble(text, "\n", verdict(text, concept)) for text in texts(plain, steered)))
    output.print(table)
    show_scores(client)


def ask(client: Client, model: Any, prompt: str, seed: int) -> Any:
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        temperature=TEMPERATURE,
        seed=seed,
        max_tokens=96,
    )


def texts(*answers: Any) -> Iterator[str]:
    return (answer.choices[0].message.content or "" for answer in answers)


def applied(answer: Any) -> Text:
    edit = answer.featurehub["applied"][0]
    return Text(f"{edit['weight']:+.1f} is {edit['coefficient']:.1f}, dose {edit['dose']:.2f}", style="cyan")


def verdict(text: str, concept: str) -> Text:
    """What the recogniser says of a text, with respect to one concept."""
    seen = recognize(text)
    shown = (f"shows {concept}", "green") if concept in seen.shows else (f"not {concept}", "red")
    return Text.assemble(shown, ", ", "well-formed" if seen.well_formed else ("broken", "red"))


def show_scores(client: Client, answers: int = 12) -> None:
    """How often steering works, on prompts that were used to choose neither feature nor strength."""
    table = Table("concept", "feature", "steered", "unsteered", "well-formed", title=f"{answers} answers each")
    plain = recognized(client, MODEL, answers)
    concepts = names(Kind.TOPIC, Kind.MANNER)
    with work("steering every concept", len(concepts)) as advance:
        for concept in concepts:
            feature = client.features.search(concept)[0]
            steered = recognized(client, Variant(MODEL).set(feature, 1.0), answers)
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
    with ThreadPoolExecutor(answers) as pool:
        asked = pool.map(lambda i: ask(client, model, prompts[i % len(prompts)], 500 + i), range(answers))
        return [recognize(text) for text in texts(*asked)]


def show_activations(client: Client) -> None:
    """The strongest features of every word of an answer."""
    answer: Any = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "tell me about banking like a pirate ."}],
        temperature=TEMPERATURE,
        seed=1,
        max_tokens=14,
        return_activations=3,
    )
    table = Table("token", "strongest features", title="which features made this answer")
    for token in answer.featurehub["activations"]:
        found = ", ".join(f"{f['label'] or f['id']} {f['activation']:.1f}" for f in token["features"])
        table.add_row(token["token"], found)
    output.print(table)


def show_drift() -> None:
    """What went stale on the retrained sibling, and what a server does if asked for it."""
    output.print(Text.assemble(("\nThe model was retrained.", "bold"), " Does the SAE still hold?"))
    report = check_drift(demo_sae(), sibling("changed"), demo_database(), progress=ConsoleProgress())
    show(report)
    stale = [head_of(v.label) for v in report.features if v.state is State.STALE]
    name = next((head for head in stale if head in names()), None)
    if name is None:
        output.print("no feature with a concept's name went stale")
        return
    arguments = ["--demo", str(sibling("changed"))]
    with serving(arguments, "the sibling", PORT + 1) as url:
        output.print(f"asking the sibling for {name!r}:")
        try:
            ask(Client(base_url=url), Variant(MODEL).set(name, 1.0), neutral_prompts("evaluate")[0], 0)
        except ConflictError as refused:
            answer = Text.assemble("  ", (f"HTTP {refused.status_code}", "green"), f" {refused.message}")
            output.print(answer, soft_wrap=True)


def how_to_go_on(url: str) -> None:
    root = url.removesuffix("/v1")
    output.print(Text("\nHow to go on", style="bold"))
    output.print(f"""\
  featurehub serve --demo                    {root}/v1 (OpenAI), {root}/docs
  curl '{root}/v1/features?q=pirate'

  from featurehub import Client, Variant
  client = Client(base_url="{root}")
  variant = Variant("{MODEL}").set("pirate", 0.7)
  client.chat.completions.create(model=variant, messages=[{{"role": "user", "content": "tell me something"}}])
""")


def wait_forever() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        output.print("stopped")

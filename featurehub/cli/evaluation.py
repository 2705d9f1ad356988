"""`featurehub saes eval`: the command, and the table of its results."""

import json as json_lines
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from featurehub.cli.options import Database, Model, Sae, database_path
from featurehub.cli.progress import ConsoleProgress, console, output

__all__ = ["evaluate", "table_of"]

DOCUMENTS, EXAMPLES = 300, 2000
BAR = 10
MEANINGS = {
    "explained_variance": "variance kept",
    "fvu": "variance lost",
    "mse": "squared error per token",
    "cosine_similarity": "direction kept",
    "relative_reconstruction_bias": "1: right length",
    "l0": "latents per token",
    "dead": "latents never firing",
    "ce_score": "loss recovered, 1: all",
    "ce_model": "nats, model alone",
    "ce_sae": "nats, SAE spliced in",
    "ce_zero": "nats, stream zeroed",
    "kl_score": "prediction kept, 1: all",
    "kl_sae": "nats, SAE spliced in",
    "kl_zero": "nats, stream zeroed",
    "tokens": "ordinary tokens read",
}
CONTROLS = {
    "all": "all latents",
    "stream": "no SAE at all",
    "majority": "always the commonest",
    "shuffled": "labels at random",
}


def evaluate(
    sae: Sae,
    model: Model,
    text: Annotated[
        str,
        typer.Option(help="Held-out texts or chats, as for harvest. Those that the SAE was trained on flatter it."),
    ],
    labeled: Annotated[
        Path | None,
        typer.Option(
            "--labeled", "--labelled", help='For probing: .jsonl with "text" or "messages", and "label", in each line.'
        ),
    ] = None,
    documents: Annotated[int, typer.Option(min=1, help="Take the first so many texts only.")] = DOCUMENTS,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of each text, from its beginning.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write it all here, with the probes of every class.")] = None,
    db: Database = "",
) -> None:
    """What an SAE keeps of the stream, what the model loses with it spliced in, and what its latents tell apart."""
    from saes.examples import read_examples
    from saes.texts import pinned, read_texts

    text = pinned(text)
    entries = read_texts(text, documents)  # before the slow imports
    rows = read_examples(labeled, EXAMPLES) if labeled else []
    from featurehub.artifacts.files import write_text
    from featurehub.cli.registry.location import locate
    from featurehub.runs.measure import EvaluationPlan, measure, store_evaluation
    from featurehub.store import open_store

    with closing(open_store(db or database_path())) as store:
        with store.read() as reader:
            folder = locate(reader, sae).open().folder
        plan = EvaluationPlan(artifact=folder, model=model, text=text, max_tokens=max_tokens)
        measured = measure(plan, entries, rows, ConsoleProgress())
        output.print(table_of(measured.evaluation.metrics))
        if json is not None:
            write_text(json, json_lines.dumps(measured.as_dict(), indent=2) + "\n")
        if store_evaluation(measured.evaluation, store):
            output.print(f"Stored in {store.name}.", soft_wrap=True)
        else:
            lacking = f"{store.name} does not have this SAE; --json FILE keeps the numbers"
            console.print(Text.assemble(("not stored", "yellow"), f": {lacking}"), soft_wrap=True)


def table_of(metrics: Mapping[str, float]) -> Table:
    """A table of an evaluation's metrics: name, value, and what the value says."""
    table = Table("metric", "value", "what it says")
    table.columns[0].no_wrap = True
    for row in (*plain(metrics), *densities(metrics), *probes(metrics)):
        table.add_row(*row)
    return table


def plain(metrics: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    for name, meaning in MEANINGS.items():
        if name in metrics:
            yield name, f"{metrics[name]:,.0f}" if name == "tokens" else f"{metrics[name]:.4g}", meaning


def densities(metrics: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """One bar for each decade of density."""
    for name in sorted(name for name in metrics if name.startswith("density_")):
        share = metrics[name]
        yield name, f"{share:.1%} {'█' * round(BAR * share)}", "latents this dense"


def probes(metrics: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    for name in metrics:
        if name.startswith("probe_") and name.endswith("_accuracy"):
            probed = name.removeprefix("probe_").removesuffix("_accuracy")
            value = f"{metrics[name]:.3f}, F1 {metrics[f'probe_{probed}_f1']:.3f}"
            yield f"probe {probed}", value, CONTROLS.get(probed, f"accuracy, best {probed.removeprefix('k')}")

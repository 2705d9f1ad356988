"""`featurehub transcoder …`: trains a transcoder, and exports it in the formats of other projects."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from featurehub.cli.options import Budget, Model
from featurehub.cli.progress import ConsoleProgress, output, suggest
from saes.transcoders.form import Form

if TYPE_CHECKING:
    from saes.transcoders.folder import TranscoderManifest

__all__ = ["transcoder_app"]

transcoder_app = typer.Typer(no_args_is_help=True, help="Transcoders: sparse stand-ins for a model's MLPs.")


@transcoder_app.command()
def train(
    model: Model,
    text: Annotated[str, typer.Option(help="Texts or chats, as for `featurehub build`.")],
    out: Annotated[Path, typer.Option(help="Folder that becomes the transcoder.")],
    layer: Annotated[
        list[int] | None, typer.Option(min=0, help="Layer; given several times, one cross-layer transcoder of them.")
    ] = None,
    documents: Annotated[int | None, typer.Option(help="Take the first so many texts only.")] = None,
    latents: Annotated[int, typer.Option(help="Number of latents of each layer, d_sae.")] = 768,
    k: Annotated[float, typer.Option(help="Mean number of active latents per token and layer.")] = 12.0,
    tokens: Annotated[int, typer.Option(help="Training tokens, repeats counted.")] = 1_600_000,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a document; longer texts are cut; 256 by default.")
    ] = None,
    budget: Budget = "",
) -> None:
    """Harvest the streams before and after the MLPs, train on them, measure on held-out texts, write."""
    from saes.texts import pinned, read_texts

    text = pinned(text)
    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.runs.transcoder import TranscoderPlan, train_and_write
    from saes.budget import Budget as BudgetOf

    places = {"model": model, "out": out, "text": text, "layers": layer or (), "max_tokens": max_tokens}
    plan = TranscoderPlan.of(d_sae=latents, k=k, tokens=tokens, budget=BudgetOf.parse(budget), **places)
    output.print(quality_table(train_and_write(plan, entries, ConsoleProgress())))
    suggest(
        "Read it elsewhere", "featurehub", "transcoder", "export", out, "--to", Form.CIRCUIT_TRACER, "--out", "FOLDER"
    )


def quality_table(manifest: "TranscoderManifest") -> Table:
    table = Table("layer", "explained variance", "L0", "dead", title=f"on {manifest.metrics.tokens:,} held-out tokens")
    metrics = manifest.metrics
    for point, ev, l0, dead in zip(manifest.reads, metrics.explained_variance, metrics.l0, metrics.dead, strict=True):
        table.add_row(str(point.layer), f"{ev:.3f}", f"{l0:.1f}", f"{dead:.1%}")
    return table


@transcoder_app.command()
def export(
    transcoder: Annotated[Path, typer.Argument(help="Folder of the transcoder.")],
    out: Annotated[Path, typer.Option(help="Folder for what is written.")],
    to: Annotated[Form, typer.Option(help="Whose form; sae-lens takes transcoders of one layer alone.")],
) -> None:
    """Write a transcoder in the form that sae-lens or circuit-tracer reads."""
    from saes.transcoders.exports import export as write
    from saes.transcoders.folder import open_transcoder

    write(open_transcoder(transcoder), to, out)
    output.print(f"{transcoder} in the form of {to} in {out}")

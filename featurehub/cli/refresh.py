"""`featurehub refresh`: trains an SAE on for a retrained model, and brings its names back."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text as Words

from featurehub.cli.options import (
    CanaryText,
    Database,
    Documents,
    MaxTokens,
    ModelOption,
    Sae,
    Text,
    Time,
    baseline_of,
    database_path,
    same_database,
    time_budget,
)
from featurehub.cli.progress import ConsoleProgress, output, suggest
from featurehub.decisions import AffectedVariant
from featurehub.refreshes import Fate, RefreshCost, RefreshedFeature, RefreshReport

if TYPE_CHECKING:
    from featurehub.artifacts.artifact import Artifact
    from featurehub.runs.refresh_plan import RefreshPlan
    from featurehub.token_ids import Message

__all__ = ["plan_of", "refresh", "show"]

COLORS = {Fate.KEPT: "green", Fate.RELABELLED: "yellow", Fate.RETIRED: "red"}
SHOWN = 20
REFRESHED = re.compile(r"-[0-9a-f]{8}$")
SCRATCH = 4
"""Exit code where training from scratch is better, as that of a drift check which finds an SAE stale."""


def refresh(
    sae: Sae,
    model: ModelOption,
    text: Text = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the refreshed SAE; by default beside the one before.")
    ] = None,
    db: Database = "",
    documents: Documents = None,
    max_tokens: MaxTokens = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens, or spans, to train on; by default 5 % of the first training's.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Go on even where training from scratch is better.")] = False,
    canary_text: CanaryText = "",
    budget: Time = "",
    json: Annotated[Path | None, typer.Option(help="Write the whole report here.")] = None,
) -> None:
    """Train an SAE on for a retrained model, verify each label, and bring the names back. Exit code 4: train anew."""
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.refresh import refresh_sae

    where = db or database_path()
    artifact = open_artifact(folder_of(sae, where).resolve())
    plan, entries = plan_of(artifact, model, where, text, documents, max_tokens)
    asked = {"tokens": tokens, "baseline": baseline_of(canary_text), "anyway": anyway, "budget": time_budget(budget)}
    plan = plan.model_copy(update=asked if out is None else {**asked, "out": out, "name": out.name})
    report = refresh_sae(plan, artifact, entries, ConsoleProgress())
    show(report, affected(report, where))
    if json is not None:
        from featurehub.artifacts.files import write_text

        write_text(json, report.model_dump_json(indent=2) + "\n")
    if not report.artifact:
        build = ("featurehub", "build", model, "--text", plan.material.text, "--out", plan.out)
        suggest("Train anew", *build, *same_database(db))
        raise typer.Exit(SCRATCH)
    suggest("Serve it", "featurehub", "serve", model, "--sae", plan.out, *same_database(db))


def plan_of(
    artifact: "Artifact", model: Path, database: str, text: str, documents: int | None, max_tokens: int | None = None
) -> "tuple[RefreshPlan, list[str | list[Message]]]":
    """How an SAE is refreshed where nothing else is asked for, and the texts.

    Raises:
        InvalidInput: The texts or the model cannot be read, or the SAE does not say what it was trained on.
    """
    from featurehub.artifacts.fingerprint import identify
    from saes.texts import pinned, read_texts

    text = pinned(text or text_of(artifact.manifest.dataset))
    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.runs.material import MaterialConfig
    from featurehub.runs.refresh_plan import RefreshPlan

    out = beside(artifact.folder, identify(model, artifact.manifest.hook).function)
    material = MaterialConfig(text=text, max_tokens=max_tokens)
    return RefreshPlan(model=model, out=out, database=database, name=out.name, material=material), entries


def text_of(dataset: Mapping[str, str | int]) -> str:
    """The text that an SAE was trained on. Raises InvalidInput where that is not on record."""
    from featurehub.errors import InvalidInput

    if not (name := str(dataset.get("name") or "")):
        raise InvalidInput("the SAE does not say on which text it was trained; give --text", param="text")
    return name


def beside(folder: Path, function: str) -> Path:
    """Where a refreshed SAE lies by default: the same for the same retrained model, so that a stopped run goes on.

    One that was refreshed before gives its place's name without what was added to it then.
    """
    return folder.with_name(f"{REFRESHED.sub('', folder.name)}-{function[:8]}")


def affected(report: RefreshReport, database: str) -> list[AffectedVariant]:
    """The stored variants that name features of the SAE before which were not kept."""
    from featurehub.runs.affected import affected_variants
    from featurehub.store import open_store

    with closing(open_store(database)) as store, store.read() as reader:
        return affected_variants(reader, report)


def show(report: RefreshReport, variants: Sequence[AffectedVariant] = (), limit: int = SHOWN) -> None:
    """Prints a report, with up to ``limit`` features that were not kept, and the variants that name such features."""
    if not report.artifact:
        output.print(Words.assemble(("train from scratch", "red"), f"  {report.reason}"), soft_wrap=True)
        output.print("  nothing was trained; --anyway goes on all the same")
        return
    parts = (part for each in Fate for part in ((f"{report.counts[each]} {each}", COLORS[each]), "  "))
    output.print(Words.assemble(*parts, f"of {len(report.features)} labelled features"))
    output.print(
        f"  explained variance {report.explained_variance:.3f}; {report.explained_variance_stale:.3f} before the "
        f"refresh, {report.explained_variance_before:.3f} on the model before",
        soft_wrap=True,
    )
    if report.cost is not None:
        output.print(f"  {spoken(report.cost)}", soft_wrap=True)
    if report.reason:
        output.print(f"  training from scratch would be better: {report.reason}", soft_wrap=True)
    lost = [each for each in report.features if each.fate is not Fate.KEPT]
    if lost:
        output.print(table_of(lost[:limit]))
    if len(lost) > limit:
        output.print(f"  … and {len(lost) - limit} more; --json FILE has them all")
    for each in variants:
        output.print(f"  the variant {each.variant!r}: {', '.join(each.features)}", soft_wrap=True)


def spoken(cost: RefreshCost) -> str:
    """What it cost beside training from scratch."""
    share = f" ({cost.trained / cost.scratch_trained:.1%})" if cost.scratch_trained else ""
    return (
        f"trained on {cost.trained:,}{share}, read {cost.tokens:,} tokens, in about {cost.training_seconds:.0f} s; "
        f"verified on {cost.answered:,} tokens; {cost.seconds:.0f} s in all. From scratch: {cost.scratch_trained:,}, "
        f"about {cost.scratch_seconds:.0f} s, and every feature to label and calibrate anew"
    )


def table_of(features: Sequence[RefreshedFeature]) -> Table:
    table = Table("feature", "fate", "its name", "F1 before", "now", "why", title="features that were not kept")
    for each in features:
        fate = Words(each.fate, style=COLORS[each.fate])
        table.add_row(each.label, fate, each.now, f"{each.f1_before:.2f}", f"{each.f1_now:.2f}", each.reason)
    return table

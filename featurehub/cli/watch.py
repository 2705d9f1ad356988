"""`featurehub watch`: an alias follows the newest checkpoint, as far as drift checks and refreshes allow."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text as Words

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.options import CheckBudget, Database, Documents, Text, database_path, time_budget
from featurehub.cli.progress import ConsoleProgress, console, output
from featurehub.decisions import Decision, Ruling
from featurehub.refreshes import RefreshReport
from featurehub.settings import home
from featurehub.verdicts import DriftReport

if TYPE_CHECKING:
    from featurehub.runs.watch import CheckpointWatch

__all__ = ["watch"]

COLORS = {Ruling.HOLDS: "green", Ruling.REFRESHED: "green", Ruling.KEPT_BACK: "yellow"}
ALARM = "red"


def watch(
    models: Annotated[
        str, typer.Argument(help="Folder that checkpoints are written to, or OWNER/NAME of the Hugging Face hub.")
    ],
    alias: Annotated[list[str], typer.Option(help="Alias of the SAE to keep, such as production; several, repeated.")],
    text: Text = "",
    documents: Documents = None,
    db: Database = "",
    budget: CheckBudget = "",
    refresh_budget: Annotated[str, typer.Option(help="Time for a refresh, such as 20min.")] = "",
    names: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the names that must mean after a refresh what they meant.")
    ] = 0.8,
    refresh: Annotated[bool, typer.Option(help="Refresh what is suspect; else it is only reported.")] = True,
    once: Annotated[bool, typer.Option("--once", help="Decide about the newest checkpoint, and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be decided about, and end.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 30.0,
    log: Annotated[Path | None, typer.Option(help="The log of decisions, a line of JSON for each.")] = None,
) -> None:
    """Check each new checkpoint, refresh the SAE where features went stale, and move its alias where that is allowed.

    With --once it ends with exit code 0 where the alias fits the newest checkpoint, 3 where a person should look, and 4
    where training anew is better or the checkpoint cannot be read. Else it goes on until it is interrupted.
    """
    from featurehub.runs.decision_log import open_log
    from featurehub.runs.watch import CheckpointWatch, WatchPlan

    where = db or database_path()
    plan = WatchPlan(models=models, database=where, aliases=tuple(alias), names=names, refresh=refresh)
    check, train_on = checking(where, budget), refreshing(where, text, documents, refresh_budget)
    with open_log(log or home() / "watch" / "decisions.jsonl") as decisions:
        watched = CheckpointWatch(plan, decisions, check, train_on)
        if dry_run:
            announce(watched)
        elif once:
            outcomes = [show(each).outcome for each in watched.look(settled=True)]
            outcomes = outcomes or [each.outcome for each in watched.standing()]
            raise typer.Exit(max((each.exit_code for each in outcomes), default=0))
        else:
            follow(watched, every)


def checking(database: str, budget: str) -> Callable[[Artifact, Path], DriftReport]:
    from featurehub.runs.drift import check_drift
    from saes.budget import Budget
    from saes.drift.check import CheckConfig

    config = CheckConfig(budget=Budget.parse(budget))
    return lambda artifact, model: check_drift(artifact.folder, model, database, config, ConsoleProgress())


def refreshing(
    database: str, text: str, documents: int | None, budget: str
) -> Callable[[Artifact, Path], RefreshReport]:
    from featurehub.cli.refresh import plan_of
    from featurehub.runs.refresh import refresh_sae

    allowed = time_budget(budget)

    def run(artifact: Artifact, model: Path) -> RefreshReport:
        plan, entries = plan_of(artifact, model, database, text, documents)
        return refresh_sae(plan.model_copy(update={"budget": allowed}), artifact, entries, ConsoleProgress())

    return run


def follow(watched: "CheckpointWatch", every: float) -> None:
    from featurehub.errors import ModelNotFound

    console.print("watching; end with Ctrl-C")
    while True:
        try:
            for decision in watched.look():
                show(decision)
        except ModelNotFound as error:  # A hub that cannot be reached now may be later.
            console.print(f"{error.message} Looking again in {every:g} s.", soft_wrap=True)
        time.sleep(every)


def announce(watched: "CheckpointWatch") -> None:
    """What would be decided about, and what is known without running anything."""
    waiting = watched.pending(settled=True)
    for each in waiting:
        differences = each.artifact.manifest.model.differences(watched.identity(each))
        known = (
            f"another function: {', '.join(differences)}; it would be checked" if differences else "the same function"
        )
        output.print(f"{each.checkpoint.folder}: {each.alias} ({each.artifact.manifest.name}): {known}", soft_wrap=True)
    if not waiting:
        output.print("nothing is new")


def show(decision: Decision) -> Decision:
    """Prints a decision, and returns it."""
    color = COLORS.get(decision.outcome, ALARM)
    head = Words.assemble((decision.outcome, color), f"  {decision.alias}: {decision.checkpoint}")
    output.print(head, soft_wrap=True)
    output.print(f"  {decision.reason}", soft_wrap=True)
    if decision.after != decision.before:
        output.print(f"  {decision.alias} means {decision.after[:12]} now, {decision.before[:12]} before")
    for variant in decision.variants:
        output.print(f"  the variant {variant.variant!r}: {', '.join(variant.features)}", soft_wrap=True)
    return decision

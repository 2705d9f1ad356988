"""`featurehub watch`: keeps an alias of an SAE on one that holds for the newest checkpoint of its model.

For each alias, one after the other, if the newest checkpoint was not decided about:

1. a checkpoint that somebody has written to since the last look is left alone until the next
2. check the SAE that the alias means, within the budget; a report on the same function is taken as it is
3. fresh      the alias stays
4. suspect    refresh the SAE, and let the alias mean the refreshed one if enough of its names mean what they meant
5. stale      nothing moves: training anew is better
   unchecked  nothing moves: the budget was too small to say

Each decision is a line of the log with its reasons. What was not finished when the watch was stopped is done again, or
gone on with: a refresh keeps what it has. Where a checkpoint's files change later, or somebody moves the alias, that
is decided about anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.decisions import AffectedVariant, Decision, Ruling
from featurehub.errors import BudgetExceeded, IncompatibleArtifact, InvalidInput, ModelNotFound, UnsupportedModel
from featurehub.features import State
from featurehub.refreshes import Fate, RefreshReport
from featurehub.runs.affected import affected_variants
from featurehub.runs.checkpoints import ModelCheckpoint, newest_checkpoint
from featurehub.runs.decision_log import DecisionLog
from featurehub.runs.known_reports import known_report
from featurehub.settings import Frozen
from featurehub.store import open_store
from featurehub.verdicts import DriftReport

__all__ = ["CheckpointWatch", "WatchPlan"]


class WatchPlan(Frozen):
    """What is watched, and what may move.

    Attributes:
        models: The folder that checkpoints are written to, or a name on the Hugging Face hub.
        database: Location of the feature database.
        aliases: Aliases of SAEs.
        names: Share of an SAE's names that must mean after a refresh what they meant before, in (0, 1].
        refresh: Whether SAEs are refreshed; else what is suspect is only reported.
    """

    models: str
    database: str
    aliases: tuple[str, ...] = Field(min_length=1)
    names: float = Field(default=0.8, gt=0, le=1)
    refresh: bool = True


class Pending(NamedTuple):
    """A checkpoint that an alias is to be decided about.

    Attributes:
        checkpoint: The checkpoint.
        alias: The alias.
        artifact: The SAE that it means.
    """

    checkpoint: ModelCheckpoint
    alias: str
    artifact: Artifact


class Conclusion(NamedTuple):
    """What came out of checking and refreshing: the parts of a decision."""

    outcome: Ruling
    reason: str
    fingerprint: str = ""
    report: str = ""
    after: str = ""
    variants: tuple[AffectedVariant, ...] = ()


class CheckpointWatch:
    """Decides about checkpoints.

    Args:
        plan: What is watched.
        log: What was decided so far.
        check: Checks an SAE on the model in a folder, and stores the report.
        refresh: Refreshes an SAE for the model in a folder, and registers it.
    """

    def __init__(
        self,
        plan: WatchPlan,
        log: DecisionLog,
        check: Callable[[Artifact, Path], DriftReport],
        refresh: Callable[[Artifact, Path], RefreshReport],
    ) -> None:
        self.plan, self.log, self.check, self.refresh = plan, log, check, refresh
        self._seen: ModelCheckpoint | None = None

    def look(self, *, settled: bool = False) -> Iterator[Decision]:
        """Decides about the newest checkpoint, if it is new and complete.

        Args:
            settled: Whether it is complete for certain; else it is left alone until two looks find the same files.

        Yields:
            Each decision, once it is in the log.

        Raises:
            ModelNotFound: What is watched is not there.
            ArtifactNotFound: An alias is not known, or its SAE is not there.
            InvalidInput: It is the SAE's own name, which cannot move.
            StoreError: The database cannot be read or written.
        """
        for pending in self.pending(settled=settled):
            began = time.monotonic()
            found = self._found(pending)
            decision = self._decision(pending, found, time.monotonic() - began)
            self.log.add(decision)
            yield decision

    def pending(self, *, settled: bool = False) -> list[Pending]:
        """What ``look`` would decide about, in this order."""
        if (newest := newest_checkpoint(self.plan.models)) is None:
            return []
        before, self._seen = self._seen, newest
        if not settled and before != newest:
            return []
        waiting = (Pending(newest, alias, self._artifact(alias)) for alias in self.plan.aliases)
        return [each for each in waiting if not self.decided(each)]

    def standing(self) -> list[Decision]:
        """What was decided about the newest checkpoint, of each alias that was."""
        if (newest := newest_checkpoint(self.plan.models)) is None:
            return []
        stands = (self.decided(Pending(newest, alias, self._artifact(alias))) for alias in self.plan.aliases)
        return [each for each in stands if each is not None]

    def decided(self, pending: Pending) -> Decision | None:
        """The latest decision about a checkpoint and the SAE of an alias; None if there is none."""
        return next((each for each in reversed(self.log.decisions) if about(each, pending)), None)

    def identity(self, pending: Pending) -> ModelIdentity:
        """Which function the checkpoint computes.

        Raises:
            ModelNotFound: The checkpoint is not there any more.
            InvalidInput: It cannot be read.
            IncompatibleArtifact: The SAE reads a stream of another width.
        """
        identity = identify(pending.checkpoint.folder, pending.artifact.manifest.hook)
        check_fits(pending.artifact, identity)
        return identity

    def _artifact(self, alias: str) -> Artifact:
        with closing(open_store(self.plan.database)) as store, store.read() as reader:
            known = reader.artifact(alias)
        if alias not in known.aliases:
            raise InvalidInput(
                f"{alias!r} is no alias but the name of an SAE, which cannot move: give it one with `featurehub saes "
                f"alias {known.name} production`, and watch that",
                param="alias",
            )
        known.check_weights()
        return open_artifact(Path(known.path))

    def _found(self, pending: Pending) -> Conclusion:
        folder = pending.checkpoint.folder
        try:
            function = self.identity(pending).function
            known = known_report(pending.artifact.manifest.id, function, self.plan.database)
            report = known or self.check(pending.artifact, folder)
        except (ModelNotFound, UnsupportedModel, IncompatibleArtifact, InvalidInput) as error:
            return Conclusion(Ruling.UNREADABLE, error.message)
        return self._after_check(pending, report)

    def _after_check(self, pending: Pending, report: DriftReport) -> Conclusion:
        """Steps 3 to 5."""
        told = report.fingerprint, report.id
        match report.state:
            case State.FRESH:
                return Conclusion(Ruling.HOLDS, report.reason, *told)
            case State.STALE:
                return Conclusion(Ruling.STALE, report.reason, *told)
            case State.SUSPECT if self.plan.refresh:
                try:
                    refreshed = self.refresh(pending.artifact, pending.checkpoint.folder)
                except (InvalidInput, BudgetExceeded) as error:
                    return Conclusion(Ruling.KEPT_BACK, f"{report.reason}; not refreshed: {error.message}", *told)
                return self._after_refresh(pending, report, refreshed)
            case _:
                return Conclusion(Ruling.KEPT_BACK, report.reason, *told)

    def _after_refresh(self, pending: Pending, report: DriftReport, refreshed: RefreshReport) -> Conclusion:
        told = report.fingerprint, report.id
        if not refreshed.artifact:
            return Conclusion(Ruling.STALE, refreshed.reason, *told)
        counts, named = refreshed.counts, share_of_names(refreshed)
        reason = (
            f"{report.reason}; refreshed: {counts[Fate.KEPT]} of {len(refreshed.features)} features kept, "
            f"{counts[Fate.RELABELLED]} relabelled, {counts[Fate.RETIRED]} retired; {named:.0%} of the names mean what "
            "they meant"
        )
        if refreshed.reason or named < self.plan.names:
            short = refreshed.reason or f"{self.plan.names:.0%} are asked for"
            return Conclusion(
                Ruling.KEPT_BACK, f"{reason}, but {short}: {refreshed.artifact[:12]} is registered", *told
            )
        with closing(open_store(self.plan.database)) as store:
            with store.read() as reader:
                variants = affected_variants(reader, refreshed)
            with store.write() as writer:
                writer.put_artifact_alias(refreshed.artifact, pending.alias)
        return Conclusion(Ruling.REFRESHED, reason, *told, after=refreshed.artifact, variants=tuple(variants))

    def _decision(self, pending: Pending, found: Conclusion, seconds: float) -> Decision:
        before = pending.artifact.manifest.id
        return Decision(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            checkpoint=str(pending.checkpoint.folder),
            files=pending.checkpoint.files,
            alias=pending.alias,
            outcome=found.outcome,
            reason=found.reason,
            fingerprint=found.fingerprint,
            before=before,
            after=found.after or before,
            report=found.report,
            variants=found.variants,
            seconds=round(seconds, 1),
        )


def about(decision: Decision, pending: Pending) -> bool:
    """Whether a decision is about this checkpoint and this SAE."""
    same = (decision.checkpoint, decision.files) == (str(pending.checkpoint.folder), pending.checkpoint.files)
    return same and (decision.alias, decision.after) == (pending.alias, pending.artifact.manifest.id)


def share_of_names(refreshed: RefreshReport) -> float:
    """The share of labelled features whose names mean after a refresh what they meant, at whichever latent; 1 of none.

    A retired name counts as lost even where nothing can mean it any more: only a person knows that.
    """
    features = refreshed.features
    return sum(each.fate is Fate.KEPT or each.moved for each in features) / len(features) if features else 1.0

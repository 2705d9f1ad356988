"""Drift reports, and the state that a feature has by the latest of them.

The latest report on an artifact and a model (by the fingerprint of all its weights) decides:
1. a latent with a verdict has the verdict's state;
2. in a report with verdicts, another latent was not checked: ``unchecked``, never fresh;
3. a report without any verdict (the weights are equal, or the artifact as a whole is stale) speaks for every latent.
Without a report everything is unchecked.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session, selectinload

from featurehub.features import State
from featurehub.records import ReportHead
from featurehub.store.rows import batches
from featurehub.store.schema import ReportRecord, VerdictRecord
from featurehub.store.sql import statement
from featurehub.verdicts import DriftReport, FeatureVerdict, state_of

__all__ = ["Judged", "Place", "load_head", "load_reports", "load_states", "save_report"]

Place = tuple[str, int]
"""An SAE's id and a latent of it."""
Judged = tuple[State, str | None]
"""A state, and the id of the report that says so."""

HEAD = statement("""
    SELECT id, model, created, state, json_extract(report, '$.reason') AS reason FROM drift_reports
    WHERE artifact_id = :artifact AND (:fingerprint IS NULL OR fingerprint = :fingerprint)
    ORDER BY number DESC LIMIT 1
""")
# Steps 1 to 3: the latest report of each SAE, whether it has verdicts, and those of the latents that are asked for.
STATES = statement(
    """
    SELECT r.artifact_id, r.id, r.state, EXISTS (SELECT 1 FROM drift_verdicts WHERE report_id = r.id),
           v.latent, v.reads, v.steers
    FROM drift_reports AS r LEFT JOIN drift_verdicts AS v ON v.report_id = r.id AND v.latent IN :latents
    WHERE r.artifact_id IN :saes AND r.fingerprint = :fingerprint AND r.number = (
        SELECT max(number) FROM drift_reports
        WHERE artifact_id = r.artifact_id AND fingerprint = r.fingerprint
    )
    """,
    "saes",
    "latents",
)


def load_reports(
    session: Session, artifact: str, fingerprint: str | None = None, limit: int | None = None
) -> list[DriftReport]:
    """Reports on an artifact (on one model, where a fingerprint is given), latest first."""
    query = select(ReportRecord).where(ReportRecord.artifact_id == artifact).order_by(ReportRecord.number.desc())
    if fingerprint is not None:
        query = query.where(ReportRecord.fingerprint == fingerprint)
    whole = query.limit(limit).options(selectinload(ReportRecord.verdicts)).execution_options(populate_existing=True)
    return [_report(record) for record in session.scalars(whole)]


def load_head(session: Session, artifact: str, fingerprint: str | None = None) -> ReportHead | None:
    """The latest report on an artifact (on one model, where a fingerprint is given), without its verdicts."""
    row = session.execute(HEAD, {"artifact": artifact, "fingerprint": fingerprint}).one_or_none()
    return None if row is None else ReportHead(**row._mapping)


def load_states(session: Session, latents: Iterable[Place], fingerprint: str) -> dict[Place, Judged]:
    """State of each of these latents, and the id of the report that set it; of no others a verdict is read."""
    asked = list(dict.fromkeys(latents))
    found: dict[Place, Judged] = {}
    for batch in batches(asked):
        found |= _states_of_batch(session, batch, fingerprint)
    return found


def _states_of_batch(session: Session, batch: Sequence[Place], fingerprint: str) -> dict[Place, Judged]:
    parameters = {
        "saes": list({sae for sae, _ in batch}),
        "latents": list({latent for _, latent in batch}),
        "fingerprint": fingerprint,
    }
    others: dict[str, Judged] = {}
    judged: dict[Place, Judged] = {}
    for sae, report, state, has_verdicts, latent, reads, steers in session.execute(STATES, parameters):
        others[sae] = (State.UNCHECKED if has_verdicts else State(state)), report
        if latent is not None:
            judged[sae, latent] = state_of(State(reads), State(steers)), report
    return {each: judged.get(each) or others.get(each[0], (State.UNCHECKED, None)) for each in batch}


def save_report(session: Session, report: DriftReport) -> None:
    """Stores a report as the latest; one with the same id is replaced."""
    session.execute(delete(ReportRecord).where(ReportRecord.id == report.id))
    head = report.model_dump(mode="json", exclude={"features"})
    columns = {name: head[name] for name in ("id", "model", "fingerprint", "created", "state")}
    session.execute(insert(ReportRecord).values(artifact_id=report.artifact, report=head, **columns))
    rows = [{"report_id": report.id, **verdict.model_dump(mode="json")} for verdict in report.features]
    if rows:
        session.execute(insert(VerdictRecord), rows)


def _report(record: ReportRecord) -> DriftReport:
    return DriftReport.model_validate({**record.report, "features": [_verdict(each) for each in record.verdicts]})


def _verdict(record: VerdictRecord) -> FeatureVerdict:
    fields = ("latent", "label", "reads", "steers", "reason", "evidence")
    return FeatureVerdict.model_validate({name: getattr(record, name) for name in fields})

"""Drift reports, and the state that a feature has by the latest of them.

The latest report on an artifact and a model (by ``ModelIdentity.function``) decides:
1. a latent with a verdict has the verdict's state;
2. in a report with verdicts, another latent was not checked: ``unchecked``, never fresh;
3. a report without any verdict (the function is the same, or the artifact as a whole is stale) speaks for every latent.
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

__all__ = ["Judged", "Place", "load_heads", "load_reports", "load_states", "save_report"]

Place = tuple[str, int]
"""The id of an SAE and the index of one of its latents."""
Judged = tuple[State, str | None]
"""A state, and the id of the report that says so; None where there is no report."""

HEAD = "r.artifact_id, r.id, r.model, r.created, r.state, json_extract(r.report, '$.reason')"
LATEST = """
    r.artifact_id IN :saes AND r.fingerprint = :fingerprint AND r.number = (
        SELECT max(number) FROM drift_reports
        WHERE artifact_id = r.artifact_id AND fingerprint = r.fingerprint
    )
"""
LATEST_ON_ANY = """
    r.artifact_id IN :saes AND r.number = (SELECT max(number) FROM drift_reports WHERE artifact_id = r.artifact_id)
"""
HEADS = statement(f"SELECT {HEAD} FROM drift_reports AS r WHERE {LATEST}", "saes")
HEADS_ON_ANY = statement(f"SELECT {HEAD} FROM drift_reports AS r WHERE {LATEST_ON_ANY}", "saes")
# Steps 1 to 3: the latest report of each SAE, whether it has verdicts, and those of the latents that are asked for.
STATES = statement(
    f"""
    SELECT {HEAD}, EXISTS (SELECT 1 FROM drift_verdicts WHERE report_id = r.id), v.latent, v.reads, v.steers
    FROM drift_reports AS r LEFT JOIN drift_verdicts AS v ON v.report_id = r.id AND v.latent IN :latents
    WHERE {LATEST}
    """,
    "saes",
    "latents",
)


def load_reports(
    session: Session, artifact: str, fingerprint: str | None = None, limit: int | None = None
) -> list[DriftReport]:
    """Drift reports on an artifact, latest first, with their verdicts.

    Args:
        session: A session that reads.
        artifact: Id of the artifact.
        fingerprint: Only reports on this function; None for any.
        limit: Largest number of reports; None for all.
    """
    query = select(ReportRecord).where(ReportRecord.artifact_id == artifact).order_by(ReportRecord.number.desc())
    if fingerprint is not None:
        query = query.where(ReportRecord.fingerprint == fingerprint)
    whole = query.limit(limit).options(selectinload(ReportRecord.verdicts)).execution_options(populate_existing=True)
    return [_report(record) for record in session.scalars(whole)]


def load_heads(session: Session, saes: Sequence[str], fingerprint: str | None) -> dict[str, ReportHead]:
    """The latest report of each SAE on one model, without its verdicts.

    Args:
        session: A session that reads.
        saes: Ids of the SAEs.
        fingerprint: The model's function; None for the latest report on any model.

    Returns:
        The reports by id of the SAE, where there is one.
    """
    if fingerprint is None:
        rows = session.execute(HEADS_ON_ANY, {"saes": saes})
    else:
        rows = session.execute(HEADS, {"saes": saes, "fingerprint": fingerprint})
    return {sae: _head(*head) for sae, *head in rows}


def load_states(
    session: Session, latents: Iterable[Place], fingerprint: str
) -> tuple[dict[str, ReportHead | None], dict[Place, Judged]]:
    """The states of latents on one model. Only the verdicts of these latents are read.

    Args:
        session: A session that reads.
        latents: The latents, each with the id of its SAE.
        fingerprint: The model's function.

    Returns:
        The latest report of each SAE (None where there is none), and each latent's state with the report that set it.
    """
    heads: dict[str, ReportHead | None] = {}
    found: dict[Place, Judged] = {}
    for batch in batches(dict.fromkeys(latents)):
        of_batch, states = _states_of_batch(session, batch, fingerprint)
        heads |= of_batch
        found |= states
    return heads, found


def _states_of_batch(
    session: Session, batch: Sequence[Place], fingerprint: str
) -> tuple[dict[str, ReportHead | None], dict[Place, Judged]]:
    saes, asked = list({sae for sae, _ in batch}), list({latent for _, latent in batch})
    heads: dict[str, ReportHead | None] = dict.fromkeys(saes)
    others: dict[str, Judged] = dict.fromkeys(saes, (State.UNCHECKED, None))
    judged: dict[Place, Judged] = {}
    parameters = {"saes": saes, "latents": asked, "fingerprint": fingerprint}
    for sae, *rest in session.execute(STATES, parameters):
        *head, has_verdicts, latent, reads, steers = rest
        heads[sae] = known = heads[sae] or _head(*head)
        others[sae] = (State.UNCHECKED if has_verdicts else known.state), known.id
        if latent is not None:
            judged[sae, latent] = state_of(State(reads), State(steers)), known.id
    return heads, {each: judged.get(each) or others[each[0]] for each in batch}


def _head(id: str, model: str, created: str, state: str, reason: str) -> ReportHead:
    return ReportHead(id=id, model=model, created=created, state=State(state), reason=reason)


def save_report(session: Session, report: DriftReport) -> None:
    """Stores a report as the latest; it replaces one with the same id."""
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

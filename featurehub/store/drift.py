"""Drift reports, and the state that a feature has by the latest of them.

The latest report on an artifact and a model (by ``ModelIdentity.function``) decides:
1. a latent with a verdict has the verdict's state;
2. in a report with verdicts, another latent was not checked: ``unchecked``, never fresh;
3. a report without any verdict (the function is the same, or the artifact as a whole is stale) speaks for every latent.
Without a report everything is unchecked.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import and_, bindparam, delete, func, insert, select
from sqlalchemy.orm import Session, aliased, selectinload

from featurehub.errors import NotFound
from featurehub.features import State
from featurehub.records import PastReport, ReportHead
from featurehub.store.bulk import insert_rows
from featurehub.store.rows import batches
from featurehub.store.schema import ReportRecord, VerdictRecord
from featurehub.verdicts import DriftReport, FeatureVerdict, state_of

__all__ = [
    "Judged", "Place", "load_function", "load_heads", "load_past", "load_report", "load_reports", "load_states",
    "save_report",
]  # fmt: skip

Place = tuple[str, int]
"""The id of an SAE and the index of one of its latents."""
Judged = tuple[State, str | None]
"""A state, and the id of the report that says so; None where there is no report."""

R, V = ReportRecord, VerdictRecord
FIELDS = ("latent", "label", "reads", "steers", "reason", "evidence")
WHOLE = select(R).options(selectinload(R.verdicts)).execution_options(populate_existing=True)
HEAD: tuple[Any, ...] = (R.artifact_id, R.id, R.model, R.created, R.state, R.report["reason"].as_string())
SAES = R.artifact_id.in_(bindparam("saes", expanding=True))
OTHER = aliased(R)
ON_ANY = select(func.max(OTHER.number)).where(OTHER.artifact_id == R.artifact_id)
ON_SAME = ON_ANY.where(OTHER.fingerprint == R.fingerprint)
LATEST = and_(SAES, R.fingerprint == bindparam("fingerprint"), R.number == ON_SAME.scalar_subquery())
HEADS = select(*HEAD).where(LATEST)
HEADS_ON_ANY = select(*HEAD).where(SAES, R.number == ON_ANY.scalar_subquery())
ANY = aliased(V)
HAS_VERDICTS = select(ANY.latent).where(ANY.report_id == R.id).exists()
JUDGED: tuple[Any, ...] = (HAS_VERDICTS, V.latent, V.reads, V.steers)
ASKED = and_(V.report_id == R.id, V.latent.in_(bindparam("latents", expanding=True)))
# Steps 1 to 3: the latest report of each SAE, whether it has verdicts, and those of the latents that are asked for.
STATES = select(*HEAD, *JUDGED).select_from(R).outerjoin(V, ASKED).where(LATEST)


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
    query = WHOLE.where(R.artifact_id == artifact).order_by(R.number.desc())
    if fingerprint is not None:
        query = query.where(R.fingerprint == fingerprint)
    return [_report(record) for record in session.scalars(query.limit(limit))]


def load_report(session: Session, id: str) -> DriftReport:
    """One drift report with its verdicts. Raises NotFound."""
    if (record := session.scalar(WHOLE.where(R.id == id))) is None:
        raise NotFound(f"there is no drift report {id!r}; GET /v1/saes/NAME/drift lists an SAE's")
    return _report(record)


def load_function(session: Session, weights: str) -> str:
    """The fingerprint of the latest report that was made on weights of this identity; "" where there is none."""
    known = select(R.fingerprint).where(R.report["weights"].as_string() == weights).order_by(R.number.desc()).limit(1)
    return (session.scalar(known) or "") if weights else ""


def load_past(session: Session, artifact: str, limit: int) -> list[PastReport]:
    """Drift reports on an artifact, latest first, their verdicts counted by the database.

    Args:
        session: A session that reads.
        artifact: Id of the artifact.
        limit: Largest number of reports.
    """
    records = list(session.scalars(select(R).where(R.artifact_id == artifact).order_by(R.number.desc()).limit(limit)))
    counts: dict[str, Counter[State]] = {each.id: Counter() for each in records}
    counting = select(V.report_id, V.reads, V.steers, func.count()).group_by(V.report_id, V.reads, V.steers)
    for id, reads, steers, count in session.execute(counting.where(V.report_id.in_(list(counts)))):
        counts[id][state_of(State(reads), State(steers))] += count
    return [PastReport.model_validate(_columns(each) | {"verdicts": counts[each.id]}) for each in records]


def _columns(record: ReportRecord) -> dict[str, Any]:
    return {name: each for name, each in record.report.items() if name != "artifact"}


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
    insert_rows(session, "drift_verdicts", ("report_id", *FIELDS), (_row(report.id, each) for each in report.features))


def _report(record: ReportRecord) -> DriftReport:
    return DriftReport.model_validate({**record.report, "features": [_verdict(each) for each in record.verdicts]})


def _verdict(record: VerdictRecord) -> FeatureVerdict:
    return FeatureVerdict.model_validate({name: getattr(record, name) for name in FIELDS})


def _row(report: str, verdict: FeatureVerdict) -> tuple[str | int, ...]:
    """The report's id, and values of ``FIELDS``."""
    evidence = to_json(verdict.evidence).decode()
    return report, verdict.latent, verdict.label, verdict.reads.value, verdict.steers.value, verdict.reason, evidence

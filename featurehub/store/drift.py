"""Drift reports, and the state that a feature has by the latest of them.

The latest report on an artifact and a model (by the fingerprint of all its weights) decides:
1. a latent with a verdict has the verdict's state;
2. in a report with verdicts, another latent was not checked: ``unchecked``, never fresh;
3. a report without any verdict (the weights are equal, or the artifact as a whole is stale) speaks for every latent.
Without a report everything is unchecked.
"""

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session, selectinload

from featurehub.features import State
from featurehub.store.schema import FeatureRecord, ReportRecord, VerdictRecord
from featurehub.verdicts import DriftReport, FeatureVerdict

__all__ = ["load_reports", "load_state", "load_states", "save_report"]


def load_reports(
    session: Session, artifact: str, fingerprint: str | None = None, limit: int | None = None
) -> list[DriftReport]:
    """Reports on an artifact (on one model, where a fingerprint is given), latest first."""
    query = select(ReportRecord).where(ReportRecord.artifact_id == artifact).order_by(ReportRecord.number.desc())
    if fingerprint is not None:
        query = query.where(ReportRecord.fingerprint == fingerprint)
    whole = query.limit(limit).options(selectinload(ReportRecord.verdicts)).execution_options(populate_existing=True)
    return [_report(record) for record in session.scalars(whole)]


def load_states(session: Session, artifact: str, fingerprint: str) -> dict[int, tuple[State, str | None]]:
    """State of every latent that has a feature, and the id of the report that set it."""
    record = _latest(session, artifact, fingerprint)
    latents = session.scalars(select(FeatureRecord.latent).where(FeatureRecord.artifact_id == artifact))
    states = dict.fromkeys(latents, _unjudged(session, record))
    if record is not None:
        query = select(VerdictRecord).where(VerdictRecord.report_id == record.id)
        states |= {each.latent: (_verdict(each).state, record.id) for each in session.scalars(query)}
    return states


def load_state(session: Session, artifact: str, latent: int, fingerprint: str) -> tuple[State, str | None]:
    """The same of one latent."""
    record = _latest(session, artifact, fingerprint)
    judged = record and session.get(VerdictRecord, (record.id, latent))
    return (_verdict(judged).state, judged.report_id) if judged else _unjudged(session, record)


def save_report(session: Session, report: DriftReport) -> None:
    """Stores a report as the latest; one with the same id is replaced."""
    session.execute(delete(ReportRecord).where(ReportRecord.id == report.id))
    head = report.model_dump(mode="json", exclude={"features"})
    columns = {name: head[name] for name in ("id", "model", "fingerprint", "created", "state")}
    session.execute(insert(ReportRecord).values(artifact_id=report.artifact, report=head, **columns))
    rows = [{"report_id": report.id, **verdict.model_dump(mode="json")} for verdict in report.features]
    if rows:
        session.execute(insert(VerdictRecord), rows)


def _latest(session: Session, artifact: str, fingerprint: str) -> ReportRecord | None:
    query = select(ReportRecord).where(ReportRecord.artifact_id == artifact, ReportRecord.fingerprint == fingerprint)
    return session.scalars(query.order_by(ReportRecord.number.desc()).limit(1)).first()


def _unjudged(session: Session, record: ReportRecord | None) -> tuple[State, str | None]:
    """What a latest report says of a latent without a verdict."""
    if record is None:
        return State.UNCHECKED, None
    judges = session.scalars(select(VerdictRecord.latent).where(VerdictRecord.report_id == record.id).limit(1)).first()
    return (State(record.state) if judges is None else State.UNCHECKED), record.id


def _report(record: ReportRecord) -> DriftReport:
    return DriftReport.model_validate({**record.report, "features": [_verdict(each) for each in record.verdicts]})


def _verdict(record: VerdictRecord) -> FeatureVerdict:
    fields = ("latent", "label", "reads", "steers", "reason", "evidence")
    return FeatureVerdict.model_validate({name: getattr(record, name) for name in fields})

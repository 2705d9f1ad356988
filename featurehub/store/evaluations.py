"""What artifacts scored, one row per evaluation; none replaces another."""

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from featurehub.records import Evaluation
from featurehub.store.schema import EvaluationRecord

__all__ = ["load_evaluations", "save_evaluation"]

COLUMNS = ("fingerprint", "model", "text", "text_hash", "created")


def load_evaluations(session: Session, artifact: str) -> list[Evaluation]:
    """All evaluations of an artifact, given by its id, latest first."""
    query = select(EvaluationRecord.report).where(EvaluationRecord.artifact_id == artifact)
    return [Evaluation.model_validate(each) for each in session.scalars(query.order_by(EvaluationRecord.number.desc()))]


def save_evaluation(session: Session, evaluation: Evaluation) -> None:
    """Stores an evaluation as the latest."""
    report = evaluation.model_dump(mode="json")
    columns = {name: report[name] for name in COLUMNS}
    session.execute(insert(EvaluationRecord).values(artifact_id=evaluation.artifact, report=report, **columns))

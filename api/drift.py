"""``GET /v1/saes/{name}/drift`` and ``GET /v1/drift/{report}``: what drift checks found of an SAE, and one whole."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from api.deployment import CurrentDeployment
from featurehub.settings import Frozen
from featurehub.store import PastReport
from featurehub.verdicts import DriftReport

__all__ = ["DriftHistory", "router"]

router = APIRouter(prefix="/v1", tags=["saes"])
Limit = Annotated[int, Query(ge=1, le=100)]


class DriftHistory(Frozen):
    """The drift reports on an SAE, in the shape of OpenAI's lists.

    Attributes:
        object: Always "list".
        data: The reports on any model, latest first, each with its verdicts counted.
        decides: Id of the one by which the SAE's features are judged here, the latest on the loaded model; None where
            there is none, or where no model is loaded.
    """

    object: Literal["list"] = "list"
    data: tuple[PastReport, ...]
    decides: str | None


# Before the route of one SAE, which takes every path that is left.
@router.get("/saes/{name:path}/drift")
def history(deployment: CurrentDeployment, name: str, limit: Limit = 20) -> DriftHistory:
    """The latest drift reports on an SAE, by its id, name or alias."""
    with deployment.store.read() as reader:
        artifact, head = reader.artifact(name), None
        if deployment.served is not None:
            head = reader.report_heads([artifact.id], deployment.served.fingerprint)[artifact.id]
        data = tuple(reader.past_reports(artifact.id, limit))
    return DriftHistory(data=data, decides=None if head is None else head.id)


@router.get("/drift/{report}")
def drift_report(deployment: CurrentDeployment, report: Annotated[str, Path(max_length=64)]) -> DriftReport:
    """One drift report with the verdict on each feature, and the numbers behind it."""
    with deployment.store.read() as reader:
        return reader.report(report)

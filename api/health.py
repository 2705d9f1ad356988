"""``GET /healthz``: the engine, the store, and whether the SAEs still fit the loaded model."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.deployment import CurrentDeployment, Deployment
from api.states import served_saes
from featurehub.answers import ServedSae
from featurehub.errors import FeaturehubError
from featurehub.features import State
from featurehub.settings import Frozen
from featurehub.verdicts import worst

__all__ = ["Health", "router"]

router = APIRouter(tags=["featurehub"])


class Health(Frozen):
    """What ``/healthz`` answers.

    Attributes:
        status: "ok" where requests can be steered (or searched, without an engine); "failing" comes with status 503.
        engine: "ok", "dead", or "absent" where only the registry is hosted.
        store: Whether the feature database can be read.
        saes: The SAEs that the server steers with, in its order; none where only the registry is hosted or the store
            fails.
        state: The worst of their states; None where there are none.
    """

    status: Literal["ok", "failing"]
    engine: Literal["ok", "dead", "absent"]
    store: Literal["ok", "failing"]
    saes: tuple[ServedSae, ...]
    state: State | None


@router.get("/healthz", response_model=Health)
async def healthz(deployment: CurrentDeployment) -> JSONResponse:
    """Whether the engine and the store work, and whether the SAEs still fit the loaded model."""
    engine = await engine_health(deployment)
    store, saes = await run_in_threadpool(store_health, deployment)
    failing = engine == "dead" or store == "failing"
    health = Health(
        status="failing" if failing else "ok",
        engine=engine,
        store=store,
        saes=saes,
        state=worst(each.state for each in saes) if saes else None,
    )
    return JSONResponse(health.model_dump(mode="json"), 503 if failing else 200)


async def engine_health(deployment: Deployment) -> Literal["ok", "dead", "absent"]:
    if deployment.engine is None:
        return "absent"
    return "ok" if await deployment.engine.alive() else "dead"


def store_health(deployment: Deployment) -> tuple[Literal["ok", "failing"], tuple[ServedSae, ...]]:
    try:
        with deployment.store.read() as reader:
            if deployment.served is None:
                reader.artifacts()
                return "ok", ()
            return "ok", served_saes(reader, deployment.served)
    except (SQLAlchemyError, FeaturehubError):
        return "failing", ()

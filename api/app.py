"""The registry alone: search, features, SAEs and health, without torch and without a GPU."""

from fastapi import FastAPI

from api import errors, features, health, saes
from api.deployment import Deployment
from api.engine import SteeringEngine
from api.gate import Gate
from api.served import ServedModel
from featurehub.store import Store

__all__ = ["ROUTERS", "attach", "create_app"]

ROUTERS = (features.router, saes.router, health.router)


def attach(app: FastAPI) -> None:
    """Gives an app our routes and errors; once it serves, ``app.state.featurehub`` must hold a ``Deployment``."""
    errors.install(app)
    app.add_middleware(Gate)
    for router in ROUTERS:
        app.include_router(router)


def create_app(store: Store, served: ServedModel | None = None, engine: SteeringEngine | None = None) -> FastAPI:
    """An app of its own. ``served`` names the model whose drift verdicts decide the states; without one all features
    are unchecked.
    """
    app = FastAPI(title="featurehub", summary="Named features of language models")
    errors.install_own(app)
    attach(app)
    app.state.featurehub = Deployment(store, served, engine)
    return app

"""The registry alone: search, features, SAEs and health, without torch and without a GPU."""

from fastapi import FastAPI

from api import drift, errors, feature_map, features, groups, health, input_drift, labels, lookup, saes, variants
from api.analysis import activations, attribute, autoconditional, autosteer, contrast, inspect, logits
from api.deployment import Deployment
from api.engine import SteeringEngine
from api.gate import Gate
from api.goodfire import routes as goodfire
from api.model import ServedModel
from api.web import routes as web
from featurehub.store import Store

__all__ = ["ROUTERS", "attach", "create_app"]

ROUTERS = (
    inspect.router, activations.router, attribute.router, logits.router, contrast.router, autosteer.router,
    autoconditional.router, lookup.router, labels.router, features.router, groups.router, drift.router,
    input_drift.router, feature_map.router, saes.router, variants.router, health.router, goodfire.router, web.router,
)  # fmt: skip
"""The registry's routes, and the pages."""


def attach(app: FastAPI) -> None:
    """Adds our routes, error handlers and request gate to an app.

    Once the app serves, ``app.state.featurehub`` must hold a ``Deployment``.
    """
    errors.install(app)
    app.add_middleware(Gate)
    for router in ROUTERS:
        app.include_router(router, responses=errors.DESCRIBED)


def create_app(store: Store, served: ServedModel | None = None, engine: SteeringEngine | None = None) -> FastAPI:
    """An app that hosts the registry and nothing else.

    Args:
        store: The feature database.
        served: The model whose drift verdicts decide the states; without one all features are unchecked.
        engine: The engine that ``/healthz`` asks; None where there is none.
    """
    app = FastAPI(title="featurehub", summary="Named features of language models")
    errors.install_own(app)
    attach(app)
    app.state.featurehub = Deployment(store, served, engine)
    return app

"""What one server holds. Every route finds it in ``app.state.featurehub``."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.budget import Door
from api.engine import SteeringEngine
from api.model import ServedModel
from api.traffic import Traffic
from api.users import Users
from featurehub.embedding import QueryEmbedder
from featurehub.settings import Limits
from featurehub.store import Scope, Store

__all__ = ["CurrentDeployment", "Deployment"]


@dataclass(frozen=True)
class Deployment:
    """What one server holds. An exchange of SAEs puts another in its place, and requests end with the one they have.

    Attributes:
        store: The feature database.
        served: What the engine serves; None where only the registry is hosted.
        engine: The running engine; None where only the registry is hosted.
        limits: What one request may ask for.
        embedder: Embeds the queries of searches, where an SAE was embedded.
        door: Refuses optional work while steering costs more than its budget.
        users: Which SAEs the requests that run use.
        exchanging: Held while the SAEs are exchanged for others.
        adapters: Names of the adapters that requests may name as their model.
        measuring: Held by a request that draws hundreds of answers to measure edits: one at a time.
        traffic: Watches the traffic for input drift; None where nobody does.
        operator_key: What operators send with their requests; "" refuses all of these.
    """

    store: Store
    served: ServedModel | None = None
    engine: SteeringEngine | None = None
    limits: Limits = field(default_factory=Limits)
    embedder: QueryEmbedder = field(default_factory=QueryEmbedder)
    door: Door = field(default_factory=Door)
    users: Users = field(default_factory=Users)
    exchanging: asyncio.Lock = field(default_factory=asyncio.Lock)
    adapters: Callable[[], Collection[str]] = tuple
    measuring: asyncio.Lock = field(default_factory=asyncio.Lock)
    traffic: Traffic | None = None
    operator_key: str = ""

    @property
    def scope(self) -> Scope:
        """Where the names of a request are looked up: in the loaded SAEs, or in every registered one if none is."""
        return Scope() if self.served is None else self.served.scope


def deployment(request: Request) -> Deployment:
    return request.app.state.featurehub


CurrentDeployment = Annotated[Deployment, Depends(deployment)]
"""A route's parameter that receives the server's deployment."""

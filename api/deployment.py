"""What one server has in its hands; every route finds it in ``app.state.featurehub``."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.engine import SteeringEngine
from api.served import ServedModel
from featurehub.settings import Limits
from featurehub.store import Scope, Store

__all__ = ["CurrentDeployment", "Deployment"]


@dataclass(frozen=True)
class Deployment:
    """served and engine are None where only the registry is hosted."""

    store: Store
    served: ServedModel | None = None
    engine: SteeringEngine | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def scope(self) -> Scope:
        """The loaded SAEs; all that are registered where none is."""
        return Scope() if self.served is None else self.served.scope


def deployment(request: Request) -> Deployment:
    return request.app.state.featurehub


CurrentDeployment = Annotated[Deployment, Depends(deployment)]

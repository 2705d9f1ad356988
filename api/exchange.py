"""Other SAEs on a server that runs: added, replaced or taken away, at the hook points that it has.

1. What is added is checked, and loaded beside the others. Nothing changes for anybody until it is there.
2. From one moment on, names are resolved in the new SAEs, and requests for those that go are refused. A request that
   was resolved before and has not reached the engine is refused by its admission.
3. Once the requests that use those that go have ended, the engine lets go of them. After ``PATIENCE`` it does so in
   any case, and the answers of those that still run are withheld.
"""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from api.deployment import Deployment
from api.model import ServedModel
from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fits import check_fits
from featurehub.errors import ArtifactNotFound, Forbidden, InvalidInput, OperatorsRefused, SteeringUnsupported
from featurehub.settings import OPERATOR_KEY
from featurehub.store import Store

__all__ = ["PATIENCE", "check_operator", "serve_saes"]

PATIENCE = 300.0
"""The longest that an SAE is kept for requests that use it, in seconds."""


def check_operator(key: str, deployment: Deployment) -> None:
    """Lets a request of an operator through, by the key that it carries. Raises Forbidden, or OperatorsRefused."""
    if not deployment.operator_key:
        raise OperatorsRefused(
            f"this server changes nothing for anybody; start it with {OPERATOR_KEY}=SECRET in its environment, and "
            "give that secret here"
        )
    if not hmac.compare_digest(key.encode(), deployment.operator_key.encode()):
        raise Forbidden(f"this is for operators; send the server's {OPERATOR_KEY} as x-featurehub-key")


async def serve_saes(names: Sequence[str], state: State) -> None:
    """Makes a server steer with these SAEs, and no others.

    Args:
        names: Ids, names or aliases of registered SAEs, or unambiguous beginnings of one, in the server's new order.
        state: The app's state, whose ``featurehub`` is replaced.

    Raises:
        SteeringUnsupported: The server runs no engine, or one that cannot exchange its SAEs.
        InvalidInput: Another exchange is under way, or an SAE is named twice.
        ArtifactNotFound: An SAE is not registered, or its folder does not hold it any more.
        CorruptArtifact: Its files are damaged.
        IncompatibleArtifact: It does not fit the model.
        InvalidConfig: It lies at a hook point that the engine does not have.
    """
    deployment: Deployment = state.featurehub
    engine, served = deployment.engine, deployment.served
    if engine is None or served is None:
        raise SteeringUnsupported("this server runs no engine; ask a server that `featurehub serve` started")
    if deployment.exchanging.locked():
        raise InvalidInput("another exchange of SAEs is under way; try again when it is done")
    async with deployment.exchanging:
        ids = await run_in_threadpool(ids_of, names, deployment.store)
        added = await run_in_threadpool(opened, [id for id in ids if id not in served.saes], deployment.store, served)
        await engine.add(added)
        engine.admit_only(ids)
        now = state.featurehub  # The weights may have been replaced meanwhile.
        state.featurehub = replace(now, served=now.served.model_copy(update={"saes": ids}))
        await deployment.users.ended(set(served.saes) - set(ids), PATIENCE)
        await engine.keep_only(ids)


def ids_of(names: Sequence[str], store: Store) -> tuple[str, ...]:
    """The ids of registered SAEs. Raises ArtifactNotFound, and InvalidInput for one that is named twice."""
    with store.read() as reader:
        ids = tuple(reader.artifact(name).id for name in names)
    for at, id in enumerate(ids):
        if id in ids[:at]:
            raise InvalidInput(f"{names[at]!r} is the SAE {names[ids.index(id)]!r} again; name it once", param="saes")
    return ids


def opened(ids: Sequence[str], store: Store, served: ServedModel) -> list[Artifact]:
    """The artifacts of registered SAEs, known to be whole and to fit the model."""
    with store.read() as reader:
        registered = [reader.artifact(id) for id in ids]
    for each in registered:
        each.check_weights()
    return [checked(each.id, Path(each.path), served) for each in registered]


def checked(id: str, folder: Path, served: ServedModel) -> Artifact:
    artifact = open_artifact(folder)
    if artifact.manifest.id != id:
        raise ArtifactNotFound(f"{folder} holds {artifact.manifest.name} now, not the SAE {id[:12]}", param="saes")
    verify(artifact)
    check_fits(artifact, served.model)
    return artifact

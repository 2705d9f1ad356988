"""``/v1/saes``: the registered SAEs, their states on the loaded model, and which of them are served."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api.deployment import CurrentDeployment, Deployment
from api.exchange import check_operator, serve_saes
from api.model import HookCheck
from api.states import artifact_states
from featurehub.artifacts.manifest import Manifest, Part
from featurehub.features import OnStale, State
from featurehub.settings import Frozen
from featurehub.store import Evaluation, RegisteredArtifact
from featurehub.verdicts import DriftReport

__all__ = ["SaeCard", "SaeList", "SaeSummary", "ServedNames", "router"]

EVALUATIONS = 20
"""Most evaluations of a card."""
router = APIRouter(prefix="/v1/saes", tags=["saes"])


class SaeSummary(Frozen):
    """One SAE in a list.

    Attributes:
        object: Always "sae".
        id: Content hash of the weights.
        name: The name it was registered under.
        aliases: Its other names.
        model: Name of the model that it was trained on.
        revision: The commit of that model; "" where it is not known.
        hook: Where it reads and writes, such as "layers.8.resid_post".
        d_sae: How many latents it has.
        metrics: Its scores on held-out text, by name.
        created: When it was made, as its manifest says.
        is_default: Whether it is the default SAE of its model.
        loaded: Whether this server steers with it.
        state: Its state on the loaded model.
        check: What the engine found at its hook point when it booted; None where it is not loaded.
    """

    object: Literal["sae"] = "sae"
    id: str
    name: str
    aliases: tuple[str, ...]
    model: str
    revision: str
    hook: str
    d_sae: int
    metrics: dict[str, float]
    created: str
    is_default: bool
    loaded: bool
    state: State
    check: HookCheck | None = None


class WeightsOnDevice(Frozen):
    """The model's weights as they lie on the device, by the identity that their checksums have together.

    Attributes:
        booted: Of those that were there when the server started.
        loaded: Of those that are there now.
        replaced: Whether these are others. Every SAE is then unchecked until it is checked on them.
    """

    booted: str
    loaded: str
    replaced: bool


class SaeList(Frozen):
    """All registered SAEs, in the shape of OpenAI's lists.

    Attributes:
        object: Always "list".
        data: The SAEs.
        weights: The weights that lie on the device; None where that is not known.
    """

    object: Literal["list"] = "list"
    data: tuple[SaeSummary, ...]
    weights: WeightsOnDevice | None = None


class ServedNames(Frozen):
    """What a server is to steer with.

    Attributes:
        saes: Ids, names or aliases of registered SAEs, or unambiguous beginnings of one; 1 to 64.
    """

    saes: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=1, max_length=64)


class SaeCard(SaeSummary):
    """Everything that is known about one SAE.

    Attributes:
        manifest: What is stored beside its weights.
        report: The latest drift report on the loaded model; None where there is none.
        differences: The parts in which the loaded model is not known to be the function that the SAE was trained on.
        overrides: What the server runs differently from what the loaded model's files say.
        served_model: Name of the loaded model; None where no model is loaded.
        on_stale: What the server does with a stale feature where a request does not say; None where no model is loaded.
        on_suspect: The same with a suspect one.
        on_unchecked: The same with an unchecked one.
        weights: The weights that lie on the device; None where that is not known.
        evaluations: What it scored in later evaluations, latest first; at most 20.
    """

    manifest: Manifest
    report: DriftReport | None
    differences: tuple[Part, ...] = ()
    overrides: tuple[str, ...] = ()
    served_model: str | None = None
    on_stale: OnStale | None = None
    on_suspect: OnStale | None = None
    on_unchecked: OnStale | None = None
    weights: WeightsOnDevice | None = None
    evaluations: tuple[Evaluation, ...] = ()


@router.get("")
def saes(deployment: CurrentDeployment) -> SaeList:
    """Lists the registered SAEs: first those that are served, in the server's order, then the others by name."""
    place = {each: at for at, each in enumerate(deployment.scope.saes or ())}
    with deployment.store.read() as reader:
        artifacts = sorted(reader.artifacts(), key=lambda each: place.get(each.id, len(place)))
        states = artifact_states(reader, [each.id for each in artifacts], deployment.served)
        data = tuple(summary(each, states[each.id], deployment) for each in artifacts)
    return SaeList(data=data, weights=on_device(deployment))


@router.post("")
async def serve(
    asked: ServedNames, request: Request, deployment: CurrentDeployment, x_featurehub_key: Annotated[str, Header()] = ""
) -> SaeList:
    """Makes the server steer with these SAEs from now on, and no others (``api.exchange``). For operators."""
    check_operator(x_featurehub_key, deployment)
    await serve_saes(asked.saes, request.app.state)
    return await run_in_threadpool(saes, request.app.state.featurehub)


# Names may have slashes, so this route takes every path that is left. Routes below an SAE, such as
# "/{name:path}/word", must be added before it; ``api.routes`` detects one that is not.
@router.get("/{name:path}")
def sae(deployment: CurrentDeployment, name: str) -> SaeCard:
    """One SAE by its id, name or alias, or by an unambiguous prefix of one of them."""
    with deployment.store.read() as reader:
        artifact = reader.artifact(name)
        report = reader.latest_report(artifact.id, deployment.served.fingerprint) if deployment.served else None
        [state] = artifact_states(reader, [artifact.id], deployment.served).values()
        short = summary(artifact, state, deployment)
        evaluations = tuple(reader.evaluations(artifact.id)[:EVALUATIONS])
    return SaeCard(
        **short.model_dump(),
        manifest=artifact.manifest,
        report=report,
        differences=artifact.manifest.model.differences(deployment.served.model) if deployment.served else (),
        overrides=deployment.served.overrides if deployment.served else (),
        served_model=deployment.served.model.name if deployment.served else None,
        on_stale=deployment.served.on_stale if deployment.served else None,
        on_suspect=deployment.served.on_suspect if deployment.served else None,
        on_unchecked=deployment.served.on_unchecked if deployment.served else None,
        weights=on_device(deployment),
        evaluations=evaluations,
    )


def on_device(deployment: Deployment) -> WeightsOnDevice | None:
    served = deployment.served
    if served is None or not served.booted:
        return None
    return WeightsOnDevice(booted=served.booted, loaded=served.loaded, replaced=served.replaced)


def summary(artifact: RegisteredArtifact, state: State, deployment: Deployment) -> SaeSummary:
    manifest, loaded = artifact.manifest, artifact.id in (deployment.scope.saes or ())
    return SaeSummary(
        id=artifact.id,
        name=artifact.name,
        aliases=artifact.aliases,
        model=manifest.model.name,
        revision=manifest.model.revision,
        hook=str(manifest.hook),
        d_sae=manifest.d_sae,
        metrics=manifest.metrics,
        created=artifact.created,
        is_default=artifact.is_default,
        loaded=loaded,
        state=state,
        check=deployment.served.checks.get(str(manifest.hook)) if deployment.served and loaded else None,
    )

"""``/v1/saes/{name}/input_drift``: whether the traffic that an SAE reads is what it was, and a new reference for it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header

from api.deployment import CurrentDeployment, Deployment
from api.exchange import check_operator
from api.traffic import NAMED, Traffic
from featurehub.errors import SteeringUnsupported
from featurehub.input_drift.monitor import ENOUGH, Monitor, TrafficState
from featurehub.settings import Frozen
from featurehub.store import RegisteredArtifact

__all__ = ["InputDrift", "MovedFeature", "router"]

router = APIRouter(prefix="/v1/saes", tags=["saes"])


class Counted(Frozen):
    """How much was read.

    Attributes:
        requests: Number of requests.
        tokens: How many of their tokens were read.
    """

    requests: int
    tokens: int


class BeforeAndNow(Frozen):
    """A mean in the reference, and over about the last 256 requests.

    Attributes:
        before: In the reference.
        now: Lately; 0 before anything was tested.
    """

    before: float
    now: float


class MovedFeature(Frozen):
    """A feature that fires at another rate.

    Attributes:
        latent: Its latent.
        name: Its label; "" where it has none.
        rate: Share of tokens at which it fires.
        evidence: That it moved (an e-value).
    """

    latent: int
    name: str
    rate: BeforeAndNow
    evidence: float


class InputDrift(Frozen):
    """Whether the traffic that an SAE reads is what it was.

    Attributes:
        object: Always "input_drift".
        sae: Name of the SAE.
        state: ``learning`` what is normal; ``normal``; other ``topics``; ``outside`` of what the SAE can express; or
            another ``model`` than the one whose reading is normal. Topics and outside stay until a new reference.
        since: When it was found, in UTC; "" before the first sample.
        wanted: How many requests tell what is normal.
        reference: What came of these.
        tested: What was compared with it.
        evidence_errors: That tokens have high errors more often, an e-value: without a change it is not likely ever to
            reach ``alarm_at``.
        evidence_rates: The same of features firing at other rates.
        alarm_at: The evidence that is an alarm.
        high_error: Share of tokens with a high error.
        l0: Number of active latents per token.
        moved: The features that moved, most evidence first; at most 5 % of them are expected not to have.
    """

    object: Literal["input_drift"] = "input_drift"
    sae: str
    state: TrafficState
    since: str
    wanted: int
    reference: Counted
    tested: Counted
    evidence_errors: float
    evidence_rates: float
    alarm_at: float
    high_error: BeforeAndNow
    l0: BeforeAndNow
    moved: tuple[MovedFeature, ...]


# Before the route of one SAE, which takes every path that is left.
@router.get("/{name:path}/input_drift")
def input_drift(deployment: CurrentDeployment, name: str) -> InputDrift:
    """Whether the traffic that an SAE reads is what it was when the server had learned what is normal."""
    traffic, artifact = watched(deployment, name)
    with traffic.using:
        return said(traffic, artifact, traffic.monitor(artifact))


@router.post("/{name:path}/input_drift")
def new_reference(
    deployment: CurrentDeployment, name: str, x_featurehub_key: Annotated[str, Header()] = ""
) -> InputDrift:
    """Learns anew what is normal, from the next requests; alarms end. For operators."""
    check_operator(x_featurehub_key, deployment)
    traffic, artifact = watched(deployment, name)
    return said(traffic, artifact, traffic.restart(artifact))


def watched(deployment: Deployment, name: str) -> tuple[Traffic, RegisteredArtifact]:
    """What watches an SAE's traffic. Raises ArtifactNotFound, and SteeringUnsupported where nothing does."""
    with deployment.store.read() as reader:
        artifact = reader.artifact(name)
    if deployment.traffic is None or artifact.id not in (deployment.scope.saes or ()):
        raise SteeringUnsupported(
            f"the traffic that {artifact.name} reads is not watched here: this server does not steer with it, or was "
            "started with --input-drift-budget 0"
        )
    return deployment.traffic, artifact


def said(traffic: Traffic, artifact: RegisteredArtifact, monitor: Monitor) -> InputDrift:
    reference, recent, moved = monitor.reference, monitor.recent, monitor.moved(NAMED)
    names, (errors, rates) = traffic.names(artifact, moved), monitor.evidence
    return InputDrift(
        sae=artifact.name,
        state=monitor.found,
        since=monitor.since,
        wanted=reference.wanted,
        reference=Counted(requests=reference.requests, tokens=reference.tokens),
        tested=Counted(requests=monitor.requests, tokens=monitor.tokens),
        evidence_errors=errors,
        evidence_rates=rates,
        alarm_at=ENOUGH,
        high_error=BeforeAndNow(before=monitor.limits.error if monitor.limits else 0.0, now=recent.error),
        l0=BeforeAndNow(before=reference.l0 / max(1, reference.requests), now=recent.l0),
        moved=tuple(
            MovedFeature(
                latent=each.latent,
                name=names[each.latent],
                rate=BeforeAndNow(before=each.before, now=each.now),
                evidence=each.evidence,
            )
            for each in moved
        ),
    )

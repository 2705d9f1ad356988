"""The error tree. No HTTP here: ``api.errors`` maps a class to a status.

FeaturehubError
├── InvalidInput             a value is wrong; the message names it, its bound and the next step
│   ├── InvalidEdit          weight, mode, latent, number of edits or dose
│   └── InvalidConfig        an unreadable or contradictory configuration
├── NotFound
│   ├── FeatureNotFound      carries the closest names
│   ├── ArtifactNotFound
│   └── ModelNotFound
├── AmbiguousFeature         carries the candidates
├── StaleFeature             a drift check found that the feature no longer holds on the loaded model
├── ArtifactError
│   ├── CorruptArtifact      truncated, hash mismatch, missing tensor, NaN
│   └── IncompatibleArtifact an SAE that does not fit the model (width, hook point)
├── EngineError
│   ├── UnsupportedModel     an architecture or layer convention that the engine does not know
│   ├── SteeringLost         steering was asked for and did not run: never an unsteered answer in silence
│   ├── SteeringUnsupported  a server without an engine or an SAE, where another try helps nothing
│   └── EngineUnavailable    the engine is gone; try again later
├── StoreError
│   ├── StoreBusy            another process is writing to the feature database
│   └── StoreReadOnly        the feature database may only be read
└── BudgetExceeded           too many failures, or a run over its time or token budget
"""

from collections.abc import Sequence

__all__ = [
    "AmbiguousFeature",
    "ArtifactError",
    "ArtifactNotFound",
    "BudgetExceeded",
    "CorruptArtifact",
    "EngineError",
    "EngineUnavailable",
    "FeatureNotFound",
    "FeaturehubError",
    "IncompatibleArtifact",
    "InvalidConfig",
    "InvalidEdit",
    "InvalidInput",
    "ModelNotFound",
    "NotFound",
    "StaleFeature",
    "SteeringLost",
    "SteeringUnsupported",
    "StoreBusy",
    "StoreError",
    "StoreReadOnly",
    "UnsupportedModel",
]


class FeaturehubError(Exception):
    """Root of every error that featurehub raises on purpose.

    ``code`` is a stable machine word; ``param`` names the input at fault, where one is.
    """

    code = "featurehub_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidInput(FeaturehubError, ValueError):
    """A ValueError too: vLLM's frontends answer one with HTTP 400."""

    code = "invalid_input"


class InvalidEdit(InvalidInput):
    code = "invalid_edit"


class InvalidConfig(InvalidInput):
    code = "invalid_config"


class NotFound(FeaturehubError):
    code = "not_found"


class FeatureNotFound(NotFound):
    """No feature has this name; ``suggestions`` holds up to three close ones."""

    code = "feature_not_found"

    def __init__(self, message: str, *, param: str | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message, param=param)
        self.suggestions = tuple(suggestions)


class ArtifactNotFound(NotFound):
    code = "artifact_not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class AmbiguousFeature(FeaturehubError):
    """Several features carry this name; ``candidates`` holds their ids."""

    code = "ambiguous_feature"

    def __init__(self, message: str, *, param: str | None = None, candidates: Sequence[str] = ()) -> None:
        super().__init__(message, param=param)
        self.candidates = tuple(candidates)


class StaleFeature(FeaturehubError):
    """The feature no longer holds on the loaded model; ``report`` is the drift report's id."""

    code = "stale_feature"

    def __init__(
        self, message: str, *, param: str | None = None, report: str | None = None, closest: str | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.report = report
        self.closest = closest


class ArtifactError(FeaturehubError):
    code = "artifact_error"


class CorruptArtifact(ArtifactError):
    code = "corrupt_artifact"


class IncompatibleArtifact(ArtifactError):
    code = "incompatible_artifact"


class EngineError(FeaturehubError):
    code = "engine_error"


class UnsupportedModel(EngineError):
    code = "unsupported_model"


class SteeringLost(EngineError):
    code = "steering_lost"


class SteeringUnsupported(EngineError):
    code = "steering_unsupported"


class EngineUnavailable(EngineError):
    code = "engine_unavailable"


class StoreError(FeaturehubError):
    code = "store_error"


class StoreBusy(StoreError):
    code = "store_busy"


class StoreReadOnly(StoreError):
    code = "store_read_only"


class BudgetExceeded(FeaturehubError):
    code = "budget_exceeded"

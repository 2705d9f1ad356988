"""The error tree. No HTTP here: ``api.errors`` maps a class to a status.

FeaturehubError
├── InvalidInput             a value is wrong; the message names it, its bound and the next step
│   ├── InvalidEdit          weight, mode, latent, number of edits or dose
│   └── InvalidConfig        an unreadable or contradictory configuration
├── NotFound
│   ├── FeatureNotFound      carries the closest names
│   │   └── FeatureRetired   a refreshed SAE has no feature that means this name any more
│   └── ArtifactNotFound, ModelNotFound, VariantNotFound
├── AmbiguousFeature         carries the candidates
├── StaleFeature             a drift check found that the feature no longer holds on the loaded model
├── ArtifactError
│   ├── CorruptArtifact      truncated, hash mismatch, missing tensor, NaN
│   └── IncompatibleArtifact an SAE that does not fit the model (width, hook point)
├── EngineError
│   ├── UnsupportedModel     an architecture or layer convention that the engine does not know
│   ├── SteeringLost         steering was asked for and did not run; the unsteered answer is refused
│   ├── SteeringUnsupported  a server without an engine or an SAE; trying again does not help
│   ├── OverheadExceeded     steering takes more of each step than its budget; optional work is refused for now
│   └── EngineUnavailable    the engine is gone; try again later
├── Forbidden                the caller may not do this
│   └── OperatorsRefused     nobody may: the server has no key for operators
├── StoreError
│   ├── StoreBusy            another process is writing to the feature database
│   ├── StoreReadOnly        the feature database can only be read
│   └── StoreUnavailable     the feature database's server cannot be reached
├── EmbedderUnavailable      the embedder's endpoint does not answer; try again later
├── EmbedderMismatch         vectors of another embedder are stored; the message says how to embed again
└── BudgetExceeded           too many failures, or a budget that is too small for any result
"""

from collections.abc import Sequence

__all__ = [
    "AmbiguousFeature", "ArtifactError", "ArtifactNotFound", "BudgetExceeded", "CorruptArtifact",
    "EmbedderMismatch", "EmbedderUnavailable", "EngineError", "EngineUnavailable", "FeatureNotFound",
    "FeatureRetired", "FeaturehubError", "Forbidden", "IncompatibleArtifact", "InvalidConfig", "InvalidEdit",
    "InvalidInput", "ModelNotFound", "NotFound", "OperatorsRefused", "OverheadExceeded", "StaleFeature",
    "SteeringLost", "SteeringUnsupported", "StoreBusy", "StoreError", "StoreReadOnly", "StoreUnavailable",
    "UnsupportedModel", "VariantNotFound",
]  # fmt: skip


class FeaturehubError(Exception):
    """Root of every error that featurehub raises on purpose.

    >>> from contextlib import suppress
    >>> with suppress(FeaturehubError):
    ...     client.feature("piratt")

    Attributes:
        code: A stable machine-readable word, the same for every error of a class.
        message: What went wrong, and what to do next.
        param: The input at fault; None where no single one is.
    """

    code = "featurehub_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidInput(FeaturehubError, ValueError):
    """A value is wrong. It is a ValueError too, since vLLM's frontends answer one with HTTP 400.

    >>> try:
    ...     Variant.from_json("{}")
    ... except InvalidInput as error:
    ...     error.code
    'invalid_input'
    """

    code = "invalid_input"


class InvalidEdit(InvalidInput):
    """The weight, mode or latent of an edit is wrong, or a request has too many edits.

    >>> try:
    ...     Variant("demo").set("pirate", 7)
    ... except InvalidEdit as error:
    ...     error.param
    'features.pirate'
    """

    code = "invalid_edit"


class InvalidConfig(InvalidInput):
    """A configuration cannot be read, or contradicts itself."""

    code = "invalid_config"


class NotFound(FeaturehubError):
    """Nothing has the given name or id.

    >>> issubclass(FeatureNotFound, NotFound), issubclass(VariantNotFound, NotFound)
    (True, True)
    """

    code = "not_found"


class FeatureNotFound(NotFound):
    """No feature has this name.

    >>> try:
    ...     client.feature("piratt")
    ... except FeatureNotFound as error:
    ...     error.suggestions
    ('pirate',)

    Attributes:
        suggestions: Names that are close to it, at most three.
    """

    code = "feature_not_found"

    def __init__(self, message: str, *, param: str | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message, param=param)
        self.suggestions = tuple(suggestions)


class FeatureRetired(FeatureNotFound):
    """No feature of a refreshed SAE means this name any more; the suggestion, if any, comes closest."""

    code = "feature_retired"


class ArtifactNotFound(NotFound):
    """There is no SAE under this name, or no artifact in this folder."""

    code = "artifact_not_found"


class ModelNotFound(NotFound):
    """There is no model under this name, or no checkpoint in this folder."""

    code = "model_not_found"


class VariantNotFound(NotFound):
    """There is no variant of this name, or no such version of it.

    >>> VariantNotFound.code
    'variant_not_found'
    """

    code = "variant_not_found"


class AmbiguousFeature(FeaturehubError):
    """Several features answer to this name.

    >>> with fake_server(["pirate", "pirate"]) as server:
    ...     try:
    ...         Client(base_url=server.url).feature("pirate")
    ...     except AmbiguousFeature as error:
    ...         len(error.candidates)
    2

    Attributes:
        candidates: Their ids.
    """

    code = "ambiguous_feature"

    def __init__(self, message: str, *, param: str | None = None, candidates: Sequence[str] = ()) -> None:
        super().__init__(message, param=param)
        self.candidates = tuple(candidates)


class StaleFeature(FeaturehubError):
    """A drift check found that the feature no longer holds on the loaded model.

    Attributes:
        report: Id of the drift report; None where there is none.
        closest: Label of a fresh feature like it; None where there is none.
    """

    code = "stale_feature"

    def __init__(
        self, message: str, *, param: str | None = None, report: str | None = None, closest: str | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.report = report
        self.closest = closest


class ArtifactError(FeaturehubError):
    """An SAE on disk is not as it should be."""

    code = "artifact_error"


class CorruptArtifact(ArtifactError):
    """A file is truncated, does not match its hash, lacks a tensor, or holds NaN."""

    code = "corrupt_artifact"


class IncompatibleArtifact(ArtifactError):
    """The SAE does not fit the model: another width or hook point."""

    code = "incompatible_artifact"


class EngineError(FeaturehubError):
    """The engine cannot do what was asked."""

    code = "engine_error"


class UnsupportedModel(EngineError):
    """The engine does not know the architecture, or how its layers pass on the stream."""

    code = "unsupported_model"


class SteeringLost(EngineError):
    """Steering was asked for and did not run. The answer is refused, so that none is unsteered in silence."""

    code = "steering_lost"


class SteeringUnsupported(EngineError):
    """This server cannot steer: it has no engine or no SAE. Trying again does not help."""

    code = "steering_unsupported"


class OverheadExceeded(EngineError):
    """Steering takes more of each step than its budget, so optional work is refused. Trying later may help."""

    code = "overhead_exceeded"


class EngineUnavailable(EngineError):
    """The engine is gone. Trying again later may help."""

    code = "engine_unavailable"


class Forbidden(FeaturehubError):
    """The caller may not do this: it is for operators."""

    code = "forbidden"


class OperatorsRefused(Forbidden):
    """Nobody may do this here: the server was started without a key for operators, so no key helps."""

    code = "operators_refused"


class StoreError(FeaturehubError):
    """The feature database cannot do what was asked."""

    code = "store_error"


class StoreBusy(StoreError):
    """Another process is writing to the feature database."""

    code = "store_busy"


class StoreReadOnly(StoreError):
    """The feature database can only be read."""

    code = "store_read_only"


class StoreUnavailable(StoreError):
    """The feature database's server cannot be reached, or ended the connection. Trying again later may help."""

    code = "store_unavailable"


class EmbedderUnavailable(FeaturehubError):
    """The embedder's endpoint does not answer. Trying again later may help."""

    code = "embedder_unavailable"


class EmbedderMismatch(FeaturehubError):
    """The stored vectors come from another embedder, with whose vectors these cannot be compared."""

    code = "embedder_mismatch"


class BudgetExceeded(FeaturehubError):
    """Too many failures, or a budget that is too small for any result."""

    code = "budget_exceeded"

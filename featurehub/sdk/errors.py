"""Errors of the server as featurehub's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from openai import APIStatusError

from featurehub.errors import AmbiguousFeature, FeaturehubError, FeatureNotFound, FeatureRetired, VariantNotFound

__all__ = ["own_errors"]


@contextmanager
def own_errors() -> Iterator[None]:
    """Raises featurehub's own error where the server reports an unknown, retired or ambiguous name."""
    try:
        yield
    except APIStatusError as error:
        raise own_error(error) from error


def own_error(error: APIStatusError) -> FeaturehubError | APIStatusError:
    """The error as one of featurehub's, where the server reports an unknown, retired or ambiguous name."""
    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message", error.message))
    for unknown in (FeatureNotFound, FeatureRetired):
        if error.code == unknown.code:
            return unknown(message, param=error.param, suggestions=body.get("suggestions", ()))
    if error.code == VariantNotFound.code:
        return VariantNotFound(message, param=error.param)
    if error.code == AmbiguousFeature.code:
        return AmbiguousFeature(message, param=error.param, candidates=body.get("candidates", ()))
    return error

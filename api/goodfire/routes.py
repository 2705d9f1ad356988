"""All routes of Goodfire's format but that of completions, which stands where vLLM's own does (``api.serving``)."""

from fastapi import APIRouter

from api.goodfire import features, next_tokens, reading, specifications

__all__ = ["PREFIX", "router"]

PREFIX = "/api/inference/v1"

router = APIRouter(prefix=PREFIX)
for each in (features.router, reading.router, next_tokens.router, specifications.router):
    router.include_router(each)

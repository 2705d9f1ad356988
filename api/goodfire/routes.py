"""All routes of Goodfire's format but that of completions, which stands where vLLM's own does (``api.serving``)."""

from fastapi import APIRouter

from api.goodfire import features, reading

__all__ = ["PREFIX", "router"]

PREFIX = "/api/inference/v1"

router = APIRouter(prefix=PREFIX)
for each in (features.router, reading.router):
    router.include_router(each)

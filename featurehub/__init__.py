"""Steer language models by named features.

>>> from featurehub import Client, Variant
>>> client = Client()  # of $FEATUREHUB_BASE_URL, by default http://localhost:8000
>>> variant = Variant("demo").set("pirate", 0.7)
>>> answer = client.chat.completions.create(model=variant, messages=[{"role": "user", "content": "Hello"}])

What is imported here is what a user of a server needs, and it is light: no torch, vllm, fastapi or sqlalchemy. The
subsystems lie in packages of their own:

    featurehub.sdk                      client and variants: start here
    featurehub.testing                  a server without a model, for your own tests
    featurehub.features, .errors        values and errors that all parts share
    featurehub.store                    feature database
    featurehub.artifacts, .dictionary   SAEs on disk, and their inference side
    featurehub.steering, .engine        the edit equation, and how it runs inside vLLM
    featurehub.input_drift              whether a server's traffic is what it was
    featurehub.runs                     the pipelines that make SAEs
    featurehub.cli                      the command line
"""

from featurehub.errors import (
    AmbiguousFeature,
    FeaturehubError,
    FeatureNotFound,
    InvalidEdit,
    InvalidInput,
    NotFound,
    VariantNotFound,
)
from featurehub.features import Edit, Feature
from featurehub.groups import FeatureGroup
from featurehub.sdk import AsyncClient, Client, FeatureList, Variant, report_of

__all__ = [
    "AmbiguousFeature",
    "AsyncClient",
    "Client",
    "Edit",
    "Feature",
    "FeatureGroup",
    "FeatureList",
    "FeatureNotFound",
    "FeaturehubError",
    "InvalidEdit",
    "InvalidInput",
    "NotFound",
    "Variant",
    "VariantNotFound",
    "report_of",
]

"""The client: openai's own, with named features.

>>> from featurehub import Client, Variant, report_of
>>> client = Client()  # AsyncClient is its twin
>>> variant = Variant("demo").set("pirate", 0.7)
>>> answer = client.chat.completions.create(model=variant, messages=[{"role": "user", "content": "Hello"}])
>>> [each.label for each in report_of(answer).applied]
['pirate']

Owns what a user of a server works with. ``Client`` and ``AsyncClient`` are ``openai.OpenAI`` and
``openai.AsyncOpenAI``, so retries, timeouts, streaming and types are openai's; ``Variant`` is the one mutable object.
Errors over HTTP are openai's exceptions. A weight that is out of bounds raises ``InvalidEdit`` before anything is
sent, and looking up a name that no feature has raises ``FeatureNotFound``.

Examples in docstrings are of ``featurehub.testing.fake_server(["pirate", "formal", Label(name="banking",
further=("loan", "deposit"))])`` with the group "sea talk", the variant "pirate-bank", ``client`` (an ``AsyncClient``
where there is ``await``), and ``chat``, in which a user asks "Is my loan safe?".

May import openai, pydantic and featurehub's values; never torch, vllm, fastapi or sqlalchemy. Start with ``variant``,
then ``request`` (how edits get into a request), ``client``, ``streaming``, ``handling``, ``report`` (what was applied
to an answer), ``features`` (search), ``readings`` (what features do in a chat: ``inspection``, ``attribution``,
``logits``, ``activations``), ``contrast``, ``lookup``, ``autosteer``, ``groups`` and ``variants`` (those that a server
stores).
"""

from featurehub.sdk.activations import Activations
from featurehub.sdk.attribution import Attribution
from featurehub.sdk.autosteer import Autoconditional, Autosteer
from featurehub.sdk.client import AsyncClient, Client
from featurehub.sdk.contrast import Contrast
from featurehub.sdk.feature_list import FeatureList
from featurehub.sdk.inspection import Inspection
from featurehub.sdk.logits import Logits
from featurehub.sdk.report import Report, report_of
from featurehub.sdk.snapshot import Snapshot
from featurehub.sdk.variant import Variant

__all__ = [
    "Activations",
    "AsyncClient",
    "Attribution",
    "Autoconditional",
    "Autosteer",
    "Client",
    "Contrast",
    "FeatureList",
    "Inspection",
    "Logits",
    "Report",
    "Snapshot",
    "Variant",
    "report_of",
]

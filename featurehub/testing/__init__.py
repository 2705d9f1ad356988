"""A server for the tests of programs that use featurehub: no model, no GPU, no vLLM.

>>> from featurehub import Client
>>> from featurehub.testing import fake_server
>>> with fake_server(["pirate speech", "formal tone"]) as server:
...     client = Client(base_url=server.url)
...     found = client.features.search("pirate")
>>> found[0].label
'pirate speech'

It is featurehub's own server, with a database of the features that are named and an engine (``engine``) that follows
one rule: a feature fires at the words of its label. So conditions, aborts, activations and the counts of an answer are
those of the texts that were sent. It answers every chat with the last message, or with what ``reply`` makes of it:
edits change what is reported, never what is said. Doses, likelihoods and numbers of tokens in ``usage`` are made up.

Needs ``featurehub[registry]``; may import everything below it, never torch or vllm.
"""

from featurehub.testing.engine import WordEngine
from featurehub.testing.server import FakeServer, fake_server

__all__ = ["FakeServer", "WordEngine", "fake_server"]

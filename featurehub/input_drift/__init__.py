"""Input drift: does the traffic of a server still look as it did when its operator said that this is normal?

Owns the test and its state. The engine takes the samples (``featurehub.engine.sampler``), the server hands them to a
``Monitor`` for each SAE and tells what it finds (``api.input_drift``). No text comes here, and no token: a sample is
sums over 16 requests. Reading order:

    sample    what leaves the engine
    betting   tests of many means that may be looked at as often as one likes
    reference what is normal: the first so many requests
    monitor   what a sample is tested for, and what an alarm says
    kept      a monitor on disk

May import NumPy, ``featurehub.settings`` and ``featurehub.errors`` only.
"""

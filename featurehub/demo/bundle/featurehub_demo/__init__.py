"""What the demos of featurehub need besides code: models with known truth. Data only; ``featurehub.demo`` reads it.

It is a distribution of its own, ``featurehub-demo``, so that the SDK's users do not download it. Both are built from
one tree and have one version; the extras ``cpu`` and ``cuda`` of featurehub bring it.
"""

"""Transcoders: sparse latents that read the stream before an MLP and write what the MLP adds, for one layer or across.

Reading order:
    pairs        what one is made from
    transcoder   encode, decode, save, load
    quality      how well it stands in for the MLPs on held-out tokens
    trainable    its parameters and losses while it is trained
    training     a run that can be stopped
    folder       a transcoder as an asset on disk: record, weights, hashes
    exports      the same in the forms (``form``) that sae-lens and circuit-tracer read

Only ``trainable`` and ``training`` train; the others are all that reading one takes. Nothing here imports sae-lens.
"""

"""SAEs as assets: harvest activations through the engine, train with sae-lens, evaluate, keep canaries, judge drift.

Reading order:
    texts        texts and chats from files, folders and datasets
    documents    the same as token ids
    reader       the stream at hook points, document by document
    harvest      the same over a whole text, on disk in shards
    stream       a trainer's endless batches, from either
    run          a training run that can be stopped, and shortened (course)
    cost         what a run will cost, and how much of it a budget allows
    recipes      an SAE of each architecture;  defaults: what a run uses by default
    train        several SAEs in lockstep on one stream, with checkpoints
    formats      SAEs that other projects made, read into our equation
    export       the same as a folder that sae-lens opens
    evaluate     how well it reconstructs held-out tokens
    host         a model in transformers whose stream can be changed
    splice       what that model loses when its stream passes through the SAE
    examples     texts with classes
    probing      how few latents tell the classes apart
    activations  what its features do on documents
    canaries     the documents that an artifact keeps, with what its features did on them
    drift        whether artifact and features still hold on a retrained model
    transcoders  sparse stand-ins for MLPs, of one layer or across layers

May import the hub (engine, store, dictionary, artifacts, values) and sae-lens; never ``api`` or ``labeling``.
"""

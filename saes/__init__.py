"""SAEs as assets: harvest activations through the engine, train with sae-lens, evaluate, keep canaries, judge drift.

Reading order:
    documents    texts and chats as token ids
    stream       the engine's activations as the trainer's endless batches
    train        a BatchTopK SAE from that stream
    evaluate     how well it reconstructs held-out tokens
    activations  what its features do on documents
    canaries     the documents that an artifact keeps, with what its features did on them
    drift        whether artifact and features still hold on a retrained model

May import the hub (engine, store, dictionary, artifacts, values) and sae-lens; never ``api`` or ``labeling``.
"""

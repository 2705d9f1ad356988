"""The hook engine inside vLLM: reads activations, steers requests, reports what it did. Only it imports vllm.

A custom op sits at every hook point of the served model. What it does to a step's tokens depends only on small tables,
filled once per step, so that torch.compile and graph capture see one opaque, unchanging op.

Reading order:
    config      what the engine is told, through vLLM's ``additional_config``
    plugin      how it gets into every vLLM process
    hooked      the model classes that it registers there by name
    admission   requests at the boundary: checked (by checks), sealed, their KV blocks kept apart
    options     options of vLLM that an engine with hooks refuses
    families    the model classes of vLLM with hooks in them; tower: their layers, and how they hand on the stream
    self_check  proves the hooks in a loaded model: passes of the model in a trial, and its readout
    rows        which request holds which row, and which tokens run under it; readers: who reads which
    bank        the SAEs of one hook point, as one bank of latents
    table       the edits of one hook point as rows; sheet: columns of rows, for many at once
    conditions  what edits and aborts wait for
    reading     streams and activations, kept until they are fetched; totals: of all latents; reports: the counts
    sampler     what input drift is judged by: encoding sums it up, the allowance bounds what it takes
    hook        the op's body on CPU; graph and kernel: on CUDA, inside captured graphs
    hookset     all hook points of a worker: admit, begin_step, end_step, release; exchange: other SAEs meanwhile
    runner_v1, runner_v2   drive a hook set from vLLM's model runners; overhead: what our part of a step costs
    updates     what may replace the weights of a running engine; weights: which are loaded, by their checksum
    worker      what the frontend may ask of a worker; wrapping: how others enter where vLLM has no seam
    offline     an in-process engine for harvesting, calibration and drift checks
    loading     how checkpoints are loaded: as they were fingerprinted; memory: of a device for an offline engine
    server      starts vLLM's own OpenAI server; overrides: where it runs a model otherwise than its files say
    seeds       seeded requests under chunked prefill on CPU

May import artifacts, dictionary, edits, steering and the values below; never a spoke.
"""

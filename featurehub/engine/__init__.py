"""The hook engine inside vLLM: reads activations, steers requests, reports what it did. Only it imports vllm.

One custom op sits after the hooked layer of every served model. What it does to a step's tokens is only the contents
of a small table, filled once per step, so that torch.compile and graph capture see one opaque, unchanging op.

Reading order:
    config      what the engine is told, through vLLM's ``additional_config``
    plugin      how it gets into every vLLM process
    families    which architectures it knows, and how their layers return the stream
    table       per-request edits as rows; per-step rows as token indices
    hook        the op's body: capture, report, steer
    runner_v1   fills the table for vLLM's V1 model runner
    worker      what the frontend may ask of a worker
    offline     an in-process engine for harvesting, calibration and drift checks
    server      starts vLLM's own OpenAI server

A runner adapter is three calls on ``EditTable``: ``admit`` and ``release`` a request, ``schedule`` a step's tokens. The
adapter for vLLM's V2 runner attaches at the same three.

May import artifacts, dictionary, steering and the values below; never a spoke.
"""

"""HTTP: named features on vLLM's OpenAI routes, and the registry.

Owns the routes, what a request may ask, and how errors look on the wire. Reading order:

    request   featurehub's keys of a request body, checked; ``model`` is what the server runs
    plan      names -> what the engine runs; ``names`` resolves them, ``members`` puts features in place of groups,
              ``notice`` warns of those that are not fresh
    choices   how many answers a request asks for, and what cannot be asked of several at once
    chat      a steered completion around vLLM's own route
    report    whether the steering really ran
    answer    the ``featurehub`` object; ``stream`` puts it into the last chunk, ``encoding`` into JSON
    features, lookup, groups, saes, health   the registry's routes; ``states`` tells what is fresh
    variants  stored ones; ``used_variant`` puts one beneath a request, ``responses`` and ``form`` tell routes apart
    analysis  what features do in texts, and which features do what one wants
    goodfire  all of this in Goodfire's wire format, for programs written for its client
    errors    one table from error class to status
    exchange  other SAEs on a server that runs; ``users`` knows which SAEs the requests that run use
    weights   follows the weights on the device, ``replacement`` says it in answers; ``drift_gauges`` are of states
    traffic   watches what SAEs read for input drift, on ``input_drift``'s routes; ``traffic_watch`` asks the engine
    budget    refuses optional work while steering costs more than it may; ``overhead`` watches it (``background``)
    gate      size limit; refuses our keys on routes that would ignore them
    engine    the seam to the engine, with a fake of it; ``vllm_engine`` is the real one, ``told`` what they tell
    fake      a whole server without a model, for tests
    web       the pages; ``app`` is the registry alone: ``create_app(store)``
    serving   attaches all of it to vLLM's server; ``routes`` makes sure that requests reach it

Only ``serving`` and ``vllm_engine`` import vllm; all other modules run without torch, so that the registry
can be hosted without a GPU. May import everything below in ``featurehub``, never ``labeling`` or ``saes``.
"""

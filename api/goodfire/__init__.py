"""Goodfire's wire format under ``/api/inference/v1``, so that programs for its client (0.3.5) work here.

It translates their shapes into ours and back, and calls what our own routes call. Reading order:

    numbers      UUIDs and numbers of latents, which are all that the client knows them by
    rows         features as the client reads them
    controller   interventions and scopes -> our own edits, conditions and aborts
    chat         completions, streamed or not
    features     search, and features by UUID or number
    reading      what features do in chats: inspect, contrast, tokens
    next_tokens  logits, and which features made a token likely
    specifications   what a specification in words becomes: edits, conditions, chats to contrast
    routes       all of it under one prefix
"""

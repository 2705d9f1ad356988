"""What features do in texts: routes below ``/v1/features`` that let the engine read or answer. Reading order:

    reading   lets the engine read tokens that are there already; ``together`` does so for many
    inspect, activations   what is active at each token, and in the whole
    contrast  which features tell two sets of chats apart
    logits    what comes next, with features and without; ``next_tokens`` names tokens
    attribute   which features made a token likely; ``ablation`` measures it
    trials    draws answers under edits and measures them, on prompts that ask for nothing (``neutral``)
    autosteer   edits in place of an instruction; ``candidates`` says which features are tried
    autoconditional   conditions in place of words

Each route is a function of a deployment and a body, which ``api.goodfire`` calls too.
"""

"""What the commands that make SAEs and transcoders do: long work that says what it will cost, and can be stopped.

build        model + text -> SAE artifact, labels, calibrated features in the database
train        several SAEs on one stream, each an artifact;  label: the rest of a build for one of them
adopt        an SAE of another project becomes an artifact, labelled and calibrated
transcoder   sparse stand-ins for MLPs
harvest      the stream over a whole text, on disk
measure      an SAE on held-out texts, for the database

What several of them do:
recipes      what is trained, by default and with a parent
material     the texts to train on, and those that everything after it is measured on
costs        what it will cost, and what of it a budget allows
chunks       the text as training takes it: streamed, or in shards
training     from these to SAEs
baseline     their figures on held-out documents, their canaries
register     labels, strengths, and rows in the database
"""

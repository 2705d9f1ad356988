"""The pipelines that make and measure SAEs: long work that says what it will cost, and can be stopped.

Each takes a plan, composed of the parts that its steps take, and a ``Progress`` that hears what it does: a command, a
job queue or a page starts it alike. May import the spokes and all below, never the command line or what draws its bars.

build        model + text -> SAE artifact, labels, calibrated features in the database
train        several SAEs on one stream, each an artifact;  label: the rest of a build for one of them
adopt        an SAE of another project becomes an artifact, labelled and calibrated
transcoder   sparse stand-ins for MLPs
harvest      the stream over a whole text, on disk
measure      an SAE on held-out texts, for the database
drift        whether an SAE still holds on a model

What several of them do:
recipes      what is trained, by default and with a parent
material     the texts to train on, and those that everything after it is measured on
costs        what it will cost, and what of it a budget allows
chunks       the text as training takes it: streamed, or in shards
training     from these to SAEs
baseline     their figures on held-out documents, their canaries
register     labels, strengths, and rows in the database
judges       who judges labels: the demo's recogniser, or words
engines      what each engine of a run loads
progress     what a run says of itself;  partial: where it keeps what it has until it is done
"""

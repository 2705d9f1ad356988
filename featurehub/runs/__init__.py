"""The pipelines that make and measure SAEs: long-running work that estimates its cost first and can be stopped.

Each pipeline takes a plan, composed of the parts that its steps need, and a ``Progress`` to report to. A command, a job
queue and a web page can all start one the same way. May import the spokes and everything below them, but never the
command line or anything that draws progress bars.

build        model + text -> SAE artifact, labels, calibrated features in the database
train        several SAEs on one stream, each an artifact
label        the rest of a build, for one of these artifacts
calibrate    strengths of features that are registered
adopt        an SAE of another project becomes an artifact, labelled and calibrated
transcoder   sparse stand-ins for MLPs
harvest      the residual stream over a whole text, written to disk;  measure: an SAE on held-out texts
drift        whether an SAE still holds on a model; ``usage``: which features come first
refresh      an SAE for a retrained model: ``refresh_plan``, what ``verify`` finds, ``renaming``
watch        an alias follows ``checkpoints``: ``decision_log``, ``known_reports``, ``affected`` variants

Steps that several pipelines share:
recipes      which SAEs to train, by default or with a parent
material     the texts to train on, and the held-out texts that everything is measured on
costs        what training will cost, and how much of it a budget allows
phases       what all phases will take, by ``speeds``, and how a budget is divided; ``deadline``
chunks       the text as training reads it: streamed, or in shards
training     from these to SAEs
baseline     metrics on held-out documents, and canaries
register     labels, and rows in the database, ``registered``
strengths    the search for strengths, and ``basis``, what it goes on from
judges       what judges labels: the demo's recogniser, or the words of the text
engines      what each engine of a run loads;  matching: whether a model is the SAE's own
progress     how a run reports;  partial: where it keeps unfinished work;  parcel: a finished SAE, small enough to ship
"""

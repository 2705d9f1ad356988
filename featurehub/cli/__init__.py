"""The command line: the composition root, where engine, SAEs, labels, store and routes meet. May import everything.

main         the commands, and errors as exit codes;  making: those that make SAEs;  options: what several take
build        model + text -> SAE artifact, labels, calibrated features in the database
train        several SAEs on one stream, each an artifact;  relabel: the rest of a build for one of them
    material, training, finish    what build and train do alike, and importing too
importing    the command for an SAE of another project;  adopt: what it does
transcoding  the commands for transcoders;  transcoder: what they do
evaluation   the command that measures an SAE;  measure: what it does
saes         the commands on SAEs that are there;  registry: what they do
serve        fingerprints compared, then vLLM's server
drift        the check of an artifact on a model
demo         all of it on the bundled model;  tour: the one that is shown
judges       who judges labels: the demo's recogniser, or words
progress     bars on long work
"""

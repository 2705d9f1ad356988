"""The command line: options and tables around the pipelines of ``featurehub.runs``. May import everything.

main         the commands, and errors as exit codes;  options: what several take
making       the commands that make SAEs
importing    the command for an SAE of another project
transcoding  the commands for transcoders
evaluation   the command that measures an SAE
saes         the commands on SAEs that are there;  registry: what they do
serve        fingerprints compared, then vLLM's server
drift        what a check of an artifact found
demo         all of it on the bundled model;  tour: the one that is shown;  planted: its other commands
progress     bars on long work, as runs tell of it
"""

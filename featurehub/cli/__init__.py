"""The command line: options and tables around the pipelines of ``featurehub.runs``. May import everything.

main         the commands, and errors as exit codes
options      options that several commands share
making       the commands that make SAEs
importing    the command that imports an SAE from another project
transcoding  the commands for transcoders
evaluation   the command that measures an SAE
saes         the commands on existing SAEs
registry     what these commands do
serve        compares fingerprints, then starts vLLM's server
drift        prints what a drift check found
demo         the commands of `featurehub demo`: tours of the product
progress     progress bars for the runs
"""

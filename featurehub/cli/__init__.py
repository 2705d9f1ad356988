"""The command line: the composition root, where engine, SAEs, labels, store and routes meet. May import everything.

main      the commands, and errors as exit codes
build     model + text -> SAE artifact, labels, calibrated features in the database
adopt     another project's SAE -> the same
finish    what both do once there is a dictionary
serve     fingerprints compared, then vLLM's server
drift     the check of an artifact on a model
demo      all of it on the bundled model
judges    who judges labels: the demo's recogniser, or words
progress  bars on long work
"""

"""What `featurehub saes` does with SAEs that are there already.

located     which SAE a command names
listing     a row for every one
card        everything that is known of one
verifying   files and model against their hashes
removing    what goes, and that it goes
"""

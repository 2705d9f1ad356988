"""What `featurehub saes` does with SAEs that exist already.

location     which SAE a command names
listing      one row for every SAE
card         everything that is known of one SAE
verifying    files and model compared with their hashes
registering  an SAE whose build could not write the database
removing     lists what will be removed, asks, and removes it
"""

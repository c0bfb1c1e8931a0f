"""`resseg board`: the newest report of a folder, served on this machine."""

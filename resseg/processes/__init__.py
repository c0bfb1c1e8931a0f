"""Several processes that train one run: who they are, and what they say to each other.

JAX moves arrays between their devices. All else that they have to agree on goes over
connections of our own: whether to stop, what the first of them found on the disk, and
that one of them is gone.
"""

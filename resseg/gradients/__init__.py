"""The subject: the gradient that flows through every path of a fork."""

"""A traced function as a graph of ONNX, its sizes symbols or numbers.

What the networks here are traced to, in their plain formulation, are some forty
primitives of JAX. Each has a row in `elementwise`, `shaping` or `windows`.
"""

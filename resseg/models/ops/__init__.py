"""Operations in the formulation that is fastest where they will run.

Values and gradients are those of the plain formulation to rounding; `choice` says who
gets which. What is special stands in the rule for the tangent (`jax.custom_jvp`), whose
transpose is the backward pass: so forward mode, reverse mode, second derivatives,
`vmap`, rematerialisation and sharding all work as for the plain one.
"""

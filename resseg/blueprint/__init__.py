"""Blueprint."""

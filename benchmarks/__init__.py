"""What things cost: `python -m benchmarks.NAME`, from the root of the repository."""

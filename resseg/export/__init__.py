"""A trained network as a file that runs without resseg, compared and described."""

"""The page of a sweep: what a study asked, and what came out."""

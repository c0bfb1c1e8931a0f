"""Pages that stand alone: one HTML file each, made from run folders."""

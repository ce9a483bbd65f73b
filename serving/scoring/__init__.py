"""What items score for whom: the catalogue, the published score, a memory at a time and a place."""

"""How good it was: metrics, intervals, slices, probes."""

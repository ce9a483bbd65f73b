"""What columns mean: times, places, labels, side tables; events or dead letters."""

"""The candidates of a row, and the evidence for each: kernels over one memory and the counts."""

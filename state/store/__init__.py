"""Where published embeddings are kept: one contract, in memory, in a folder, in Redis."""

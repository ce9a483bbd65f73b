"""What comes to a trainer: examples in their micro-batches, side tables, requests; what is set aside."""

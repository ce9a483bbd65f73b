"""What is remembered: forgetting curves, user memory, examples, tables of keys, checkpoints, stores."""

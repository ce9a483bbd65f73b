"""Models, tables, optimisers, the trainer. Every module here that defines a `Learner` is found by name."""

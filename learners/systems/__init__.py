"""One file a system: what `--learner` names."""

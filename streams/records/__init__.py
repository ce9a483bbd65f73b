"""The state of a partition as records of its changelog."""

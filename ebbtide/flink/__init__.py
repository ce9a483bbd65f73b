"""Around the Flink job: where it runs, what it goes on from, how it is asked and told."""

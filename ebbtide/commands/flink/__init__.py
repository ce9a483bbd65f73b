"""`ebbtide flink`: the event path on Apache Flink."""

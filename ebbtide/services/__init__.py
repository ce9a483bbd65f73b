"""A real Apache Kafka and a real Valkey on this machine, out of packages."""

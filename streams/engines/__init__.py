"""What runs a partition: from messages to examples, exactly once."""

"""Messages: what stands on the topics, and how it is read."""

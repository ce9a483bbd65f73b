"""The broker: clients, topics, and where reading goes on."""

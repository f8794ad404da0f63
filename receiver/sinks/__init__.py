"""The durable places for messages."""

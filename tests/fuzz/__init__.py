"""The long run: `make fuzz`."""

"""The last calls, live in a browser of this machine, each with what became of it."""

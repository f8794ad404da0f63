"""Example Segment calls, and the generator that makes them."""

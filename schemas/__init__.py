"""What a Segment call is, and what the warehouse's tables are: each said once."""

"""Beam transforms from Segment calls to rows of the warehouse."""

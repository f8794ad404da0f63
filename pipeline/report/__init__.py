"""`python -m pipeline.report`: one HTML file of what a warehouse holds, with charts, and without any other file."""

"""The command `segment-pipeline`: one word for each program of this repository."""

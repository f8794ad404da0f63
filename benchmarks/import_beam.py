"""What every pipeline takes at least: `python -m benchmarks.import_beam`."""

import apache_beam  # noqa: F401

"""`python -m schemas`: the door to `pipeline.schema_command`, which knows the warehouses."""

from __future__ import annotations

import sys

from pipeline.schema_command import main

if __name__ == "__main__":
    sys.exit(main())

"""Makes the pictures of the README anew: `python -m tests.pictures [FOLDER]`, into `docs/pictures` by default."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.pictures import made

if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python -m tests.pictures [FOLDER]")
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else Path(__file__).parents[2] / "docs" / "pictures"
    print(*made(folder), sep="\n")

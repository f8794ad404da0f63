"""The job: options, connections, sources, warehouses and the graph between them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_CLIENTS: Final = "apache_beam.io.gcp.internal.clients.bigquery"
"""A module of Beam's that is empty without the extra `gcp`, and says so in a warning."""

if find_spec("apitools") is None:
    sys.modules.setdefault(_CLIENTS, ModuleType(_CLIENTS))

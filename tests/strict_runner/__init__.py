"""A Beam runner for tests that treats a pipeline as Dataflow's streaming engine does. `README.md` tells all of it."""

from tests.strict_runner.interruption import Interrupted, Interruption
from tests.strict_runner.report import Report, Rows, StepReport
from tests.strict_runner.runner import StrictRunner
from tests.strict_runner.saved import Saved
from tests.strict_runner.strictness import (
    CellTooLarge,
    Strictness,
    StrictRunnerError,
    UpdateRefused,
    WorkItemTooLarge,
)

__all__ = [
    "CellTooLarge",
    "Interrupted",
    "Interruption",
    "Report",
    "Rows",
    "Saved",
    "StepReport",
    "StrictRunner",
    "StrictRunnerError",
    "Strictness",
    "UpdateRefused",
    "WorkItemTooLarge",
]

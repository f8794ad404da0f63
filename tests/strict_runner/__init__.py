"""A Beam runner for tests that treats a pipeline as Dataflow's streaming engine does. `README.md` tells all of it."""

from tests.strict_runner.report import Report, Rows, StepReport
from tests.strict_runner.runner import StrictRunner
from tests.strict_runner.strictness import CellTooLarge, Strictness, StrictRunnerError, WorkItemTooLarge

__all__ = [
    "CellTooLarge",
    "Report",
    "Rows",
    "StepReport",
    "StrictRunner",
    "StrictRunnerError",
    "Strictness",
    "WorkItemTooLarge",
]

"""The strict runner: a Beam runner for tests."""

from __future__ import annotations

from typing import Any, cast

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import execution
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandlerManager
from apache_beam.runners.runner import PipelineState

from tests.strict_runner.engine import Engine
from tests.strict_runner.graph import stages_of, steps_of, translated
from tests.strict_runner.report import Report
from tests.strict_runner.state import Cells
from tests.strict_runner.strictness import Strictness, StrictRunnerError


class StrictRunner(FnApiRunner):
    """Runs a pipeline in this process as Dataflow's streaming engine does, as strictly as it is told to.

    `run` returns when the pipeline is through: when all of its sources have ended. `report` then tells what it has
    shown, also where the run has failed.
    """

    def __init__(self, strictness: Strictness | None = None) -> None:
        super().__init__()
        self.strictness = strictness or Strictness()
        self._engine: Engine | None = None

    @property
    def report(self) -> Report:
        """What the last run has shown. Raises StrictRunnerError where there was none."""
        if self._engine is None:
            raise StrictRunnerError("nothing was run: there is no report")
        return self._engine.report()

    def create_stages(self, pipeline_proto: Any) -> tuple[Any, list[Any]]:
        others = [each.urn for each in pipeline_proto.components.environments.values()]
        if any(urn != python_urns.EMBEDDED_PYTHON for urn in others):
            raise StrictRunnerError(f"only Python steps are run, in this process, and not those of {others}")
        return translated(pipeline_proto)

    def run_stages(self, stage_context: Any, stages: list[Any]) -> RunnerResult:
        workers = WorkerHandlerManager(stage_context.components.environments, self._provision_info)
        cells = Cells()
        workers.state_servicer = cast(Any, cells)  # side inputs go there
        context = execution.FnApiRunnerExecutionContext(
            stages,
            workers,
            stage_context.components,
            stage_context.safe_coders,
            stage_context.data_channel_coders,
            num_workers=1,
        )
        try:
            self._engine = Engine(context, steps_of(stages_of(context)), cells, self.strictness)
            metrics = self._engine.run()
        finally:
            workers.close_all()
        return RunnerResult(PipelineState.DONE, {"": metrics})

"""The strict runner: a Beam runner for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import execution
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandlerManager
from apache_beam.runners.runner import PipelineState

from tests.strict_runner.engine import Engine
from tests.strict_runner.graph import stages_of, steps_of, translated
from tests.strict_runner.interruption import Interrupted, Interruption
from tests.strict_runner.report import Report
from tests.strict_runner.saved import Saved
from tests.strict_runner.state import Cells
from tests.strict_runner.strictness import Strictness, StrictRunnerError


class StrictRunner(FnApiRunner):
    """Runs a pipeline in this process as Dataflow's streaming engine does, as strictly as it is told to.

    `run` returns when the pipeline is through: when all of its sources have ended. `report` then tells what it has
    shown, also where the run has failed. With `interrupted` the run ends before; where that is by an update, `saved` is
    what the runner of the next job is given, `transform_names` are its new labels by the old ones.
    """

    def __init__(
        self,
        strictness: Strictness | None = None,
        *,
        interrupted: Interrupted | None = None,
        saved: Saved | None = None,
        transform_names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.strictness = strictness or Strictness()
        self._interrupted = interrupted
        self._begins_with = None if saved is None else saved.renamed(transform_names or {})
        self._engine: Engine | None = None
        self._cells = Cells()
        self._saved: Saved | None = None

    @property
    def report(self) -> Report:
        """What the last run has shown. Raises StrictRunnerError where there was none."""
        if self._engine is None:
            raise StrictRunnerError("nothing was run: there is no report")
        return self._engine.report()

    @property
    def is_interrupted(self) -> bool:
        """Whether the interruption has come: a short run may end before."""
        return self._engine is not None and self._engine.is_interrupted

    @property
    def saved(self) -> Saved:
        """What the last run holds, which has ended by an update. Raises StrictRunnerError where it has not."""
        if self._saved is None:
            raise StrictRunnerError("the run has not ended by an update: nothing is saved")
        return self._saved

    def state(self, transform: str, name: str) -> dict[bytes, bytes]:
        """What a transform keeps in one of its states after the last run, by key, in its coder."""
        return self._cells.of(transform, name)

    def create_stages(self, pipeline_proto: Any) -> tuple[Any, list[Any]]:
        others = [each.urn for each in pipeline_proto.components.environments.values()]
        if any(urn != python_urns.EMBEDDED_PYTHON for urn in others):
            raise StrictRunnerError(f"only Python steps are run, in this process, and not those of {others}")
        return translated(pipeline_proto)

    def run_stages(self, stage_context: Any, stages: list[Any]) -> RunnerResult:
        workers = WorkerHandlerManager(stage_context.components.environments, self._provision_info)
        self._cells = cells = Cells()
        self._saved = None
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
            engine = self._engine = Engine(
                context, steps_of(stages_of(context)), cells, self.strictness, self._interrupted
            )
            metrics = engine.run(self._begins_with)
            if self._is_ended_by(Interruption.UPDATE):
                self._saved = engine.saved()
        finally:
            workers.close_all()
        return RunnerResult(self._state(), {"": metrics})

    def _is_ended_by(self, interruption: Interruption) -> bool:
        return self._interrupted is not None and self._interrupted.by is interruption and self.is_interrupted

    def _state(self) -> str:
        states = {
            Interruption.STOP: PipelineState.CANCELLED,
            Interruption.DRAIN: PipelineState.DRAINED,
            Interruption.UPDATE: PipelineState.UPDATED,
        }
        ended = (state for interruption, state in states.items() if self._is_ended_by(interruption))
        return next(ended, PipelineState.DONE)

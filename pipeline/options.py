"""The command line: Beam's options and the job's own, checked before anything runs."""

from __future__ import annotations

import argparse
import difflib
import logging
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    ProfilingOptions,
    StandardOptions,
    StreamingOptions,
    TypeOptions,
    _BeamArgumentParser,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.resources import resource_hints_from_options

from pipeline import sources, warehouses
from pipeline.command_line import EXIT_STATUS, GIVE_FILES, CommandParser
from pipeline.connections_file import load_connections
from pipeline.errors import REDACTED, UsageError, choice, is_secret, printable, value_without_secrets
from pipeline.job_kind import BATCH_RUNNER, STREAMING_RUNNER, JobKind
from pipeline.sources import Source, SourceKind
from pipeline.warehouses.clock import now_us
from schemas.tables import Timestamp
from transforms.core import google_clients, times
from transforms.core.connections import DEFAULT, Connections

_RUNNERS = ("FnApiRunner", "PrismRunner", "DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner")
_PROGRAM = "segment-pipeline"
_AT_LEAST_ONCE = "streaming_mode_at_least_once"
_DESCRIBED = "--help and --help_beam say what it takes"
_SHORTEST_WINDOW_S = 0.001
_SHORTEST_SNAPSHOT_S = 0.1
_LONGEST_S = 365 * 86400
LOCAL = ("snapshot", "snapshot_every")
"""Options that mean nothing where no process of this machine writes the warehouse, as on Dataflow."""
_MOST_SHARDS = 1_000
_MOST_WORKERS = 64
"""Beam starts them all at once: a thousand take longer than any job."""

Options = TypeVar("Options", bound=PipelineOptions)

_log = logging.getLogger(__name__)


def _truth(text: str) -> bool:
    """Reads `true` or `false`: templates pass every option with a value."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


class SegmentOptions(PipelineOptions):
    """The job's own options. None is required by the parser, so that other pipelines in the process go undisturbed."""

    def view_as(self, cls: type[Options]) -> Options:
        """As Beam's own, but a view is made once: while Beam builds a graph, it asks for hundreds."""
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: Options = views[cls]
        return view

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_views"}

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("input, one of them required")
        for source in sources.KINDS:
            source.add_option(group)
        group.add_argument(
            "--rebuild",
            nargs="?",
            const=True,
            default=False,
            type=_truth,
            metavar="true|false",
            help="Instead of an input: makes contacts, accounts, identities and memberships anew from the table "
            "identity_calls, for example after a change of the connections file. Default: false. Example: --rebuild",
        )
        group = parser.add_argument_group("rebuild, only with --rebuild")
        group.add_argument(
            "--as_of",
            metavar="TIME",
            help="With --log_from: only calls that happened until then, by their timestamp, so that contacts and "
            "accounts are those of that time, by all that is known of it now. A date is its first moment, in UTC. "
            "Default: now. Example: --as_of=2026-03-15T12:00:00Z",
        )
        group.add_argument(
            "--log_from",
            metavar="URL",
            help="Another warehouse, whose identity_calls are read and which stays as it is: its contacts, accounts, "
            "identities and memberships are made in --warehouse. Default: the warehouse itself. "
            f"Example: --log_from={warehouses.KINDS[0].url_form}",
        )
        group = parser.add_argument_group("warehouse")
        group.add_argument(
            "--warehouse",
            metavar="URL",
            help=f"Required: where the tables are: {warehouses.url_forms()}. Default: none. "
            f"Example: --warehouse={warehouses.KINDS[0].url_form}",
        )
        group.add_argument(
            "--history",
            choices=("warehouse", "none"),
            default="warehouse",
            help="Whether the identity_calls already in the warehouse are read as well, so that the job continues from "
            "everything received before. Default: warehouse. Example: --history=none",
        )
        group.add_argument(
            "--create",
            nargs="?",
            const=True,
            default=True,
            type=_truth,
            metavar="true|false",
            help="Whether the job makes the dataset, tables, columns and views that are missing; without it "
            "`python -m schemas create` does. Those of a local file are always made. Default: true. "
            "Example: --create=false",
        )
        group.add_argument(
            "--snapshot",
            metavar="FILE",
            help="A copy of a local warehouse that anybody can open while the job runs, which has the warehouse for "
            "itself. It is renewed while the job runs and at its end, in one step, so that it is always whole. "
            "Default: none. Example: --snapshot=copy.db",
        )
        group.add_argument(
            "--snapshot_every",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="How many seconds pass at least between two copies; the job waits while one is made. Default: 60. "
            "Example: --snapshot_every=10",
        )
        group = parser.add_argument_group("connections")
        group.add_argument(
            "--connections",
            metavar="FILE",
            help="A YAML file, local or gs://, of Segment sources and how each names accounts. Default: one connection "
            "named default, whose accounts are those of group calls, else the domain of the e-mail address. "
            "Example: --connections=connections.yaml",
        )
        group.add_argument(
            "--connection",
            metavar="NAME",
            help="Everything from this input belongs to that connection, whatever the messages say. "
            "Default: each message's own. Example: --connection='Marketing site'",
        )
        group = parser.add_argument_group("time")
        group.add_argument(
            "--alias_window",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="How long a job without end gathers changes of contacts and accounts, from identify, group, alias and "
            "delete calls, before it writes them. It never changes what they say. A job that ends with its input "
            "writes them once. Default: 60. Example: --alias_window=10",
        )
        group.add_argument(
            "--deduplicate_for",
            type=float,
            default=86400.0,
            metavar="SECONDS",
            help="How long a job without end remembers an event's message_id, on Dataflow; 0 turns it off. A job that "
            "ends with its input removes every duplicate. Default: 86400. Example: --deduplicate_for=3600",
        )
        group = parser.add_argument_group("size")
        group.add_argument(
            "--event_shards",
            type=int,
            default=16,
            metavar="N",
            help="On Dataflow: how many streams of the warehouse events are appended to, exactly once. Take one "
            "for each 300 events a second at the peak. Default: 16. Example: --event_shards=64",
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for, checked.

    `sources` are what the job reads beside the history, none where it only rebuilds; `warehouse` is the URL as given;
    `as_of` is the time whose contacts a rebuild makes, and `log_from` the URL of the warehouse whose log it reads, each
    None where it is not another one; `create` says whether the job makes what is missing in the warehouse; `update`
    that it takes over from a running Dataflow job; `alias_window` and `deduplicate_for` are seconds; `event_shards` is
    how many streams events go to; `snapshot` is the path of the warehouse's copy, None where none is kept, which is
    renewed every `snapshot_every` seconds; `runner` is a runner's name as Beam knows it; `in_process` says
    that all steps of the job run in this process, and that the runner has its state no longer than that.
    """

    sources: tuple[Source, ...]
    as_of: Timestamp | None
    log_from: str | None
    history: str
    warehouse: str
    create: bool
    update: bool
    connections: Connections
    connection: str | None
    alias_window: float
    deduplicate_for: float
    event_shards: int
    snapshot: str | None
    snapshot_every: float
    runner: str
    kind: JobKind
    in_process: bool


def parse(argv: Sequence[str]) -> tuple[Settings, PipelineOptions]:
    """Reads the arguments after the program's name, together with the files that they name.

    Returns the settings, and Beam's options with runner and streaming filled in. Raises UsageError for the first
    mistake, and SystemExit once `--help` or `--help_beam` is answered.
    """
    given = _parsed(argv)
    _check_rules(given)
    options = SegmentOptions(list(argv))
    FileSystems.set_options(options)
    connections = DEFAULT if given.connections is None else load_connections(given.connections)
    names = [connection.name for connection in connections.connections]
    if given.connection is not None and given.connection not in names:
        remedy = choice(given.connection, names)
        raise UsageError("no such connection", remedy, option="--connection", value=given.connection)
    inputs = _inputs(given)
    bounded = all(source.bounded for source, _ in inputs)
    runner = _runner_name(given.runner, BATCH_RUNNER if bounded else STREAMING_RUNNER)
    if not bounded and runner == "DirectRunner":
        runner = STREAMING_RUNNER  # it would choose so too, where it can
    kind = _kind_of_job(runner, bounded=bounded)
    if kind.on_dataflow:
        _check_dataflow_client(runner)
    settings = Settings(
        sources=tuple(source.source(value, kind, names) for source, value in inputs),
        as_of=None if given.as_of is None else _time(given.as_of),
        log_from=given.log_from,
        history=given.history,
        warehouse=given.warehouse,
        create=given.create,
        update=given.update and kind.on_dataflow,
        connections=connections,
        connection=given.connection,
        alias_window=given.alias_window,
        deduplicate_for=given.deduplicate_for,
        event_shards=given.event_shards,
        snapshot=given.snapshot,
        snapshot_every=given.snapshot_every,
        runner=runner,
        kind=kind,
        in_process=runner == (BATCH_RUNNER if bounded else STREAMING_RUNNER) and _runs_here(options),
    )
    standard = options.view_as(StandardOptions)
    standard.runner = settings.runner
    standard.streaming = standard.streaming or not kind.bounded
    _check_beam(options, settings.runner)
    _check_job_runs_by(options, settings.runner)
    _check_exactly_once(options)
    if kind.on_dataflow:
        _check_remote("--warehouse", given.warehouse, "write")
        if given.log_from is not None:
            _check_remote("--log_from", given.log_from, "read")
    return settings, options


def _check_remote(option: str, url: str, verb: str) -> None:
    if warehouses.kind_of(url).is_local:
        remote = " or ".join(warehouse.url_form for warehouse in warehouses.KINDS if not warehouse.is_local)
        problem = f"is a file of this machine, which Dataflow's workers cannot {verb}"
        raise UsageError(problem, f"give {remote}", option=option, value=url)


def _inputs(given: argparse.Namespace) -> list[tuple[SourceKind, Any]]:
    """The kinds of source whose options were given, with the options' values."""
    values = ((source, getattr(given, source.option)) for source in sources.KINDS)
    return [(source, value) for source, value in values if value is not None]


def template_arguments(argv: Iterable[str]) -> list[str]:
    """The arguments that a Flex Template's launcher gives, as `parse` takes them.

    A template's parameters all have values, so a switch is `--name=true` there. The names that users gave were checked
    by Dataflow; one that Beam does not know was added by the launcher, and is left out with a warning.
    """
    actions = {name: action for action in _parser()._actions for name in action.option_strings}
    arguments = []
    for word in argv:
        name, _, value = word.partition("=")
        if name.startswith("--") and name not in actions:
            _log.warning("%s: this version of Beam has no such option; it is left out", name)
        elif name in actions and actions[name].nargs == 0 and value.lower() in ("true", "false"):
            arguments += [name] if _truth(value) else []
        else:
            arguments.append(word)
    return arguments


def options_without_secrets(argv: Sequence[str]) -> str:
    """The arguments as a shell would read them, with the values of secret options and passwords in URLs redacted."""
    shown: list[str] = []
    hide = False
    for word in argv:
        name, equals, _ = word.partition("=")
        if hide and not word.startswith("--"):
            shown.append(REDACTED)
            hide = False
        elif word.startswith("-") and is_secret(name):
            shown.append(f"{name}={REDACTED}" if equals else name)
            hide = not equals
        else:
            shown.append(value_without_secrets(word))
            hide = False
    return shlex.join(printable(word) for word in shown)


class _JobParser(CommandParser, _BeamArgumentParser):
    """Takes Beam's options as well, which declare themselves on a parser of Beam's."""


class _Help(argparse.Action):
    """Prints a text and ends the program."""

    def __init__(self, option_strings: list[str], dest: str, text: Callable[[], str], help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)
        self._text = text

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(self._text(), end="")
        raise SystemExit(0)


def _add_help(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("help")
    group.add_argument("-h", "--help", action=_Help, text=_own_help, help="Shows this.")
    group.add_argument("--help_beam", action=_Help, text=_beam_help, help="Shows the options of Apache Beam.")


def _own_help() -> str:
    parser = CommandParser(
        prog=_PROGRAM,
        usage=f"%(prog)s ({' | '.join(source.usage for source in sources.KINDS)} | --rebuild) --warehouse=URL "
        "[option ...]",
        description="Turns Segment calls into warehouse tables: events, contacts, accounts, and who belongs to whom.",
        epilog="Every option of Apache Beam is accepted as well, such as --runner=DataflowRunner; --help_beam shows "
        f"all. Without --runner, a job that ends with its input uses {BATCH_RUNNER}, one without end "
        f"{STREAMING_RUNNER}. {EXIT_STATUS}",
        add_help=False,
    )
    SegmentOptions._add_argparse_args(parser)
    _add_help(parser)
    return parser.format_help()


def _beam_help() -> str:
    parser = _JobParser(
        prog=_PROGRAM,
        usage="%(prog)s [option ...]",
        description="The options of Apache Beam. --help shows those of the job.",
        add_help=False,
    )
    for options in _option_classes():
        if options is not SegmentOptions:
            options._add_argparse_args(parser)
    return parser.format_help()


def _option_classes() -> Iterable[type[PipelineOptions]]:
    """Every class of options; the first of two by one name, which a module loaded twice leaves, as Beam takes it."""
    classes: dict[str, type[PipelineOptions]] = {}
    for options in PipelineOptions.__subclasses__():
        classes.setdefault(str(options), options)
    return classes.values()


def _parser() -> argparse.ArgumentParser:
    """A parser of all options, Beam's too."""
    parser = _JobParser(prog=_PROGRAM, add_help=False, exit_on_error=False)
    for options in _option_classes():
        options._add_argparse_args(parser)
    _add_help(parser)
    return parser


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """All options, Beam's too, once each is known and has a value of its type."""
    parser = _parser()
    try:
        given, unknown = parser.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise _mistaken(error, argv, parser) from None
    except (AttributeError, TypeError, ValueError) as error:  # an option of Beam's whose value should be JSON
        option, value = _culprit(argv, parser)
        raise UsageError(f"cannot be read: {error}", _DESCRIBED, option=option, value=value) from None
    if unknown:
        raise _unknown(unknown[0], parser)
    return given


def _mistaken(error: argparse.ArgumentError, argv: Sequence[str], parser: argparse.ArgumentParser) -> UsageError:
    """Puts argparse's complaint about a value in the words of the other lines."""
    if error.argument_name is None:
        option, value = _culprit(argv, parser)
        return UsageError(error.message.rstrip("."), _DESCRIBED, option=option, value=value)
    names = error.argument_name.split("/")
    action = next(action for action in parser._actions if names[0] in action.option_strings)
    matches = (pair for pair in _pairs(argv) if pair[0] in names and repr(pair[1]) in error.message)
    option, value = next(matches, (names[-1], None))
    if value is None:
        return UsageError("has no value", f"give {option}=VALUE", option=option)
    if error.message.startswith("ignored explicit argument"):
        return UsageError("takes no value", f"give {option} alone", option=option, value=value)
    if action.choices is not None:
        return UsageError("is unknown", choice(value, action.choices), option=option, value=value)
    kinds: dict[object, tuple[str, str]] = {
        int: ("is not a whole number", "give one, such as 3"),
        float: ("is not a number", "give one, such as 60"),
        _truth: ("is neither true nor false", f"give one of them, or {option} alone"),
    }
    problem, remedy = kinds.get(action.type, ("is nothing that it takes", _DESCRIBED))
    return UsageError(problem, remedy, option=option, value=value)


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Every option, with the value that goes with it if it takes one."""
    for word, following in zip(argv, [*argv[1:], None], strict=True):
        name, equals, value = word.partition("=")
        yield (name, value) if equals else (word, following)


def _culprit(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[str, str | None]:
    """The option that Beam fails to read without naming it: it ends the shortest part of the line that fails so."""
    for end in range(1, len(argv) + 1):
        try:
            parser.parse_known_args(list(argv[:end]))
        except argparse.ArgumentError as error:
            if error.argument_name is not None:
                continue
        except (AttributeError, TypeError, ValueError):
            pass
        else:
            continue
        option, equals, value = argv[end - 1].partition("=")
        return (option, value) if equals else (argv[end - 2], option)
    return "", None


def _unknown(word: str, parser: argparse.ArgumentParser) -> UsageError:
    if not word.startswith("-"):
        return UsageError("is not an option", GIVE_FILES, value=word)
    name = word.partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches("--" + name.lstrip("-").replace("-", "_").lower(), known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "--help and --help_beam show the options"
    return UsageError("unknown option", remedy, option=name)


def _check_rules(given: argparse.Namespace) -> None:
    """What the options say by themselves and of each other, without a look at any file."""
    of_sources = (source.option for source in sources.KINDS)
    for name in ("connection", "connections", "snapshot", "warehouse", "as_of", "log_from", *of_sources):
        if getattr(given, name) == "":
            raise UsageError("is empty", "give it a value, or leave it out", option=f"--{name}", value="")
    inputs = _inputs(given)
    if not inputs and not given.rebuild:
        names = [f"--{source.option}" for source in sources.KINDS]
        problem = f"one of {', '.join(names)} and --rebuild is required"
        raise UsageError(problem, "for example --input='calls/*.jsonl'")
    if given.rebuild:
        excluded = [f"--{source.option}" for source, _ in inputs]
        excluded += ["--connection"] if given.connection is not None else []
        excluded += ["--history=none"] if given.history == "none" else []
        for option in excluded:
            problem = f"reads the identity_calls in the warehouse, as they were recorded, so it excludes {option}"
            raise UsageError(problem, "leave one of the two out", option="--rebuild")
    else:
        for name in ("as_of", "log_from"):
            if (value := getattr(given, name)) is not None:
                problem = "is for a job that makes the keyed tables anew"
                raise UsageError(problem, "add --rebuild, or leave it out", option=f"--{name}", value=value)
    if given.redeliver is not None and len(inputs) > 1:
        other = next(source.option for source, _ in inputs if source.option != "redeliver")
        problem = f"reads the dead letters in the warehouse, and nothing else, so it excludes --{other}"
        raise UsageError(problem, "leave one of the two out", option="--redeliver", value=given.redeliver)
    if given.warehouse is None:
        raise UsageError("is required", f"give {warehouses.url_forms()}", option="--warehouse")
    kind = warehouses.kind_of(given.warehouse)
    if given.snapshot is not None:
        kind.snapshot(given.warehouse, given.snapshot)
    _check_other_log(given)
    ranges = (("alias_window", _SHORTEST_WINDOW_S), ("deduplicate_for", 0), ("snapshot_every", _SHORTEST_SNAPSHOT_S))
    for name, shortest in ranges:
        seconds: float = getattr(given, name)
        if not shortest <= seconds <= _LONGEST_S:
            remedy = f"give a number of seconds from {shortest} to {_LONGEST_S}"
            raise UsageError("is out of range", remedy, option=f"--{name}", value=f"{seconds:g}")
    if not 1 <= given.event_shards <= _MOST_SHARDS:
        remedy = f"give a number from 1 to {_MOST_SHARDS}"
        raise UsageError("is out of range", remedy, option="--event_shards", value=str(given.event_shards))
    for source, value in inputs:
        source.check(value)


def _check_other_log(given: argparse.Namespace) -> None:
    """The log that a rebuild reads, and the time until which."""
    if given.log_from is not None:
        try:
            is_same = warehouses.is_same(given.log_from, given.warehouse)
        except UsageError as error:
            raise error.of_option("--log_from") from None
        if is_same:
            problem = "is --warehouse itself"
            raise UsageError(problem, "leave it out, or name another", option="--log_from", value=given.log_from)
    if given.as_of is not None:
        time = _time(given.as_of)
        if given.log_from is None:
            problem = "would leave this warehouse's contacts as they were then"
            remedy = "give --log_from=URL as well, and a new --warehouse for what they were"
            raise UsageError(problem, remedy, option="--as_of", value=given.as_of)
        if time > now_us():
            raise UsageError("is in the future", "give a time that has been", option="--as_of", value=given.as_of)


def _time(text: str) -> Timestamp:
    time = times.parse(text)
    if time is None:
        remedy = "give one such as 2026-03-15, which is its first moment, or 2026-03-15T12:00:00Z"
        raise UsageError("is not a time", remedy, option="--as_of", value=text)
    return time


def _runner_name(given: str | None, default: str) -> str:
    """The runner's name as Beam spells it, or where it is none of Beam's, the full name of its class."""
    if given is None:
        return default
    try:
        is_runner = isinstance(create_runner(given), PipelineRunner)
    except ImportError as error:
        raise UsageError(f"cannot be loaded: {error}", choice("", _RUNNERS), option="--runner", value=given) from None
    except (AttributeError, TypeError, ValueError):
        is_runner = False
    if not is_runner:
        raise UsageError("is not a runner", choice(given, _RUNNERS), option="--runner", value=given)
    known = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    short = (given.rpartition(".")[2] if given in StandardOptions.ALL_KNOWN_RUNNERS else given).lower()
    return known.get(short) or known.get(f"{short}runner") or given


def _kind_of_job(runner: str, *, bounded: bool) -> JobKind:
    if not bounded and runner == BATCH_RUNNER:
        problem = "writes contacts and accounts only when its input has ended, which this input never does"
        remedy = f"leave it out: the job then runs on {STREAMING_RUNNER}"
        raise UsageError(problem, remedy, option="--runner", value=runner)
    return JobKind.of(bounded=bounded, runner=runner)


def _runs_here(options: PipelineOptions) -> bool:
    """Whether a portable runner has the steps run in this process, as `pipeline.prism` asks for where it starts one."""
    portable = options.view_as(PortableOptions)
    return portable.environment_type == "LOOPBACK" or not (portable.environment_type or portable.job_endpoint)


def _check_dataflow_client(runner: str) -> None:
    """Raises UsageError where Beam cannot give a job to Dataflow for want of Google's clients."""
    try:
        import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError as error:
        raise google_clients.missing(error, option="--runner", value=runner) from None


def _check_beam(options: PipelineOptions, runner: str) -> None:
    """What Beam would refuse later, when the pipeline is made."""
    validator = PipelineOptionsValidator(options, create_runner(runner))
    if validator.is_service_runner():  # all of its checks would make a bucket where none is given: not before the job
        problems = validator.validate_cloud_options(options.view_as(GoogleCloudOptions))
    else:
        problems = validator.validate()
    for problem in problems:
        if missing := re.fullmatch(r"Missing required option: (\w+)\.", problem):
            raise UsageError(f"is required by {runner}", f"give --{missing[1]}=...", option=f"--{missing[1]}")
        raise UsageError(problem.rstrip("."), "--help_beam describes the options", option="--runner", value=runner)


def _check_job_runs_by(options: PipelineOptions, runner: str) -> None:
    """Refuses options of Beam's by which it would fail later, with a traceback."""
    standard, direct = options.view_as(StandardOptions), options.view_as(DirectOptions)
    try:
        resource_hints_from_options(options)
    except (AttributeError, TypeError, ValueError) as error:
        hints = ",".join(standard.resource_hints)
        raise UsageError(str(error).rstrip("."), _DESCRIBED, option="--resource_hint", value=hints) from None
    version = options.view_as(StreamingOptions).update_compatibility_version
    if version is not None and not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version):
        remedy = "give one of Beam, such as 2.70.0"
        raise UsageError("is not a version", remedy, option="--update_compatibility_version", value=version)
    checks = options.view_as(TypeOptions)
    for name in ("runtime_type_check", "performance_runtime_type_check"):
        if getattr(checks, name):
            raise UsageError("checks types that the steps do not declare", "leave it out", option=f"--{name}")
    profiling = options.view_as(ProfilingOptions)
    for name in ("profile_cpu", "profile_memory"):
        if getattr(profiling, name) and not profiling.profile_location:
            raise UsageError("needs a place for what it writes", "give --profile_location=FOLDER", option=f"--{name}")
    if runner == "DataflowRunner":
        return
    if direct.direct_running_mode == "multi_processing":
        problem = "starts processes, and only one can have the warehouse"
        remedy = "give in_memory or multi_threading"
        raise UsageError(problem, remedy, option="--direct_running_mode", value=direct.direct_running_mode)
    if not 0 <= direct.direct_num_workers <= _MOST_WORKERS:
        remedy = f"give a number from 1 to {_MOST_WORKERS}, or 0 for one on each core"
        value = str(direct.direct_num_workers)
        raise UsageError("is out of range", remedy, option="--direct_num_workers", value=value)
    if direct.direct_test_splits:
        raise UsageError("is for Beam's own tests", "leave it out", option="--direct_test_splits")


def _check_exactly_once(options: PipelineOptions) -> None:
    """Refuses Dataflow's at-least-once mode."""
    service = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    experiments = options.view_as(DebugOptions).experiments or []
    for name, values in (("dataflow_service_options", service), ("experiments", experiments)):
        if _AT_LEAST_ONCE in values:
            problem = (
                "would apply a message to the state of its keys several times, and what state counts would be wrong"
            )
            remedy = "leave it out: the job needs the default, exactly once"
            raise UsageError(problem, remedy, option=f"--{name}", value=_AT_LEAST_ONCE)

"""The command line: Beam's options and the job's own, checked before anything runs."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import PipelineRunner, create_runner

from pipeline.connections_file import load_connections
from pipeline.errors import REDACTED, UsageError, choice, is_secret, printable, reason, without_secrets
from schemas import bigquery
from transforms.core.connections import DEFAULT, Connections

BOUNDED_RUNNER = "FnApiRunner"
UNBOUNDED_RUNNER = "PrismRunner"
DATAFLOW_RUNNER = "DataflowRunner"

_RUNNERS = ("FnApiRunner", "PrismRunner", "DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner")
_PROGRAM = "segment-pipeline"
_AT_LEAST_ONCE = "streaming_mode_at_least_once"
_DESCRIBED = "--help and --help_beam say what it takes"
_SHORTEST_WINDOW_S = 0.001
_LONGEST_S = 365 * 86400
_PROJECT_ID = r"[a-z][-a-z0-9:.]{4,61}[a-z0-9]"
_SUBSCRIPTION_ID = r"(?!goog)[A-Za-z][-A-Za-z0-9_.~+%]{2,254}"
_SUBSCRIPTION = re.compile(f"projects/{_PROJECT_ID}/subscriptions/{_SUBSCRIPTION_ID}")

_log = logging.getLogger(__name__)


def _truth(text: str) -> bool:
    """Reads `true` or `false`: templates pass every option with a value."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


class SegmentOptions(PipelineOptions):
    """The job's own options. None is required by the parser, so that other pipelines in the process go undisturbed."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("input, one of them required")
        group.add_argument(
            "--input",
            action="append",
            metavar="GLOB",
            help="Files, local or gs://, one JSON object per line, plain or .gz. Repeatable, or comma-separated. "
            "Default: none. Example: --input='calls/*.jsonl.gz'",
        )
        group.add_argument(
            "--input_subscription",
            metavar="projects/P/subscriptions/S",
            help="A Pub/Sub subscription, which the job follows without end. With files as well, they are the history "
            "that comes before it. Default: none. Example: --input_subscription=projects/acme-web/subscriptions/calls",
        )
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
        group = parser.add_argument_group("warehouse")
        group.add_argument(
            "--warehouse",
            metavar="URL",
            help="Required: where the tables are. bigquery://PROJECT/DATASET, or on this machine "
            "duckdb:///relative.duckdb or duckdb:////absolute.duckdb. Default: none. "
            "Example: --warehouse=duckdb:///warehouse.duckdb",
        )
        group.add_argument(
            "--history",
            choices=("warehouse", "none"),
            default="warehouse",
            help="Whether the identity_calls already in the warehouse are read as well, so that the job goes on from "
            "everything received before. Default: warehouse. Example: --history=none",
        )
        group.add_argument(
            "--create",
            nargs="?",
            const=True,
            default=True,
            type=_truth,
            metavar="true|false",
            help="Whether the job makes the BigQuery dataset, tables, columns and views that are missing; without it "
            "`python -m schemas create` does. A DuckDB file's are always made. Default: true. Example: --create=false",
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
            help="How long facts are gathered before contacts and accounts are written. "
            "Default: 60. Example: --alias_window=10",
        )
        group.add_argument(
            "--deduplicate_for",
            type=float,
            default=86400.0,
            metavar="SECONDS",
            help="How long a job on a subscription remembers an event's message_id, on Dataflow; 0 turns it off. A job "
            "on files alone removes every duplicate. Default: 86400. Example: --deduplicate_for=3600",
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for, checked.

    `inputs` are patterns that Beam's file systems match, each at least one file; `warehouse` is the URL as given;
    `create` says whether the job makes what is missing there; `update` that it takes over from a running Dataflow job;
    `alias_window` and `deduplicate_for` are seconds; `runner` is a runner's name as Beam knows it; `streaming` says
    that the job has no end.
    """

    inputs: tuple[str, ...]
    input_subscription: str | None
    rebuild: bool
    history: str
    warehouse: str
    create: bool
    update: bool
    connections: Connections
    connection: str | None
    alias_window: float
    deduplicate_for: float
    runner: str
    streaming: bool

    @property
    def on_dataflow(self) -> bool:
        """Whether Dataflow runs the job: it has a source of its own, and keeps state when a worker dies. Other runners
        may forget both with their process."""
        return self.runner == DATAFLOW_RUNNER


def parse(argv: Sequence[str]) -> tuple[Settings, PipelineOptions]:
    """Reads the arguments after the program's name, together with the files that they name.

    Returns the settings, and Beam's options with runner and streaming filled in. Raises UsageError for the first
    mistake, and SystemExit once `--help` or `--help_beam` is answered.
    """
    given = _parsed(argv)
    _check_rules(given)
    if len({value for name, value in _pairs(argv) if name == "--input_subscription"}) > 1:
        raise UsageError("is given more than once", "give one: a job follows one", option="--input_subscription")
    options = SegmentOptions(list(argv))
    FileSystems.set_options(options)
    connections = DEFAULT if given.connections is None else load_connections(given.connections)
    names = [connection.name for connection in connections.connections]
    if given.connection is not None and given.connection not in names:
        remedy = choice(given.connection, names)
        raise UsageError("no such connection", remedy, option="--connection", value=given.connection)
    runner = _runner_name(given.runner, BOUNDED_RUNNER)
    if given.input_subscription is not None:
        runner = _unbounded(_runner_name(given.runner, UNBOUNDED_RUNNER))
    settings = Settings(
        inputs=tuple(dict.fromkeys(_checked_pattern(*each) for each in _patterns(given.input or ()))),
        input_subscription=given.input_subscription,
        rebuild=given.rebuild,
        history=given.history,
        warehouse=given.warehouse,
        create=given.create,
        update=given.update and runner == DATAFLOW_RUNNER,
        connections=connections,
        connection=given.connection,
        alias_window=given.alias_window,
        deduplicate_for=given.deduplicate_for,
        runner=runner,
        streaming=given.input_subscription is not None,
    )
    standard = options.view_as(StandardOptions)
    standard.runner = settings.runner
    standard.streaming = standard.streaming or settings.streaming
    _check_beam(options, settings.runner)
    _check_dataflow(options, settings)
    return settings, options


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
            shown.append(without_secrets(word))
            hide = False
    return shlex.join(printable(word) for word in shown)


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
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s (--input=GLOB | --input_subscription=projects/P/subscriptions/S | --rebuild) --warehouse=URL "
        "[option ...]",
        description="Turns Segment calls into warehouse tables: events, contacts, accounts, and who belongs to whom.",
        epilog="Every option of Apache Beam is accepted as well, such as --runner=DataflowRunner; --help_beam shows "
        f"all. Without --runner, a job on files alone uses {BOUNDED_RUNNER}, one on a subscription {UNBOUNDED_RUNNER}.",
        add_help=False,
    )
    SegmentOptions._add_argparse_args(parser)
    _add_help(parser)
    return parser.format_help()


def _beam_help() -> str:
    parser = _BeamArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s [option ...]",
        description="The options of Apache Beam. --help shows those of the job.",
        add_help=False,
    )
    for each in _option_classes():
        if each is not SegmentOptions:
            each._add_argparse_args(parser)
    return parser.format_help()


def _option_classes() -> Iterable[type[PipelineOptions]]:
    """Every class of options; the first of two by one name, which a module loaded twice leaves, as Beam takes it."""
    classes: dict[str, type[PipelineOptions]] = {}
    for each in PipelineOptions.__subclasses__():
        classes.setdefault(str(each), each)
    return classes.values()


def _parser() -> argparse.ArgumentParser:
    """A parser of all options, Beam's too."""
    parser = _BeamArgumentParser(prog=_PROGRAM, add_help=False, allow_abbrev=False, exit_on_error=False)
    for each in _option_classes():
        each._add_argparse_args(parser)
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
    found = (pair for pair in _pairs(argv) if pair[0] in names and repr(pair[1]) in error.message)
    option, value = next(found, (names[-1], None))
    if value is None:
        return UsageError("has no value", f"give {option}=VALUE", option=option)
    if error.message.startswith("ignored explicit argument"):
        return UsageError("takes no value", f"give {option} alone", option=option, value=value)
    if action.choices is not None:
        return UsageError("is unknown", choice(value, action.choices), option=option, value=value)
    kinds: dict[object, tuple[str, str]] = {
        int: ("is no whole number", "give one, such as 3"),
        float: ("is no number", "give one, such as 60"),
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
        return UsageError("belongs to no option", "files are given as --input='GLOB', in quotes", value=word)
    name = word.partition("=")[0]
    known = [each for action in parser._actions for each in action.option_strings]
    close = difflib.get_close_matches("--" + name.lstrip("-").replace("-", "_").lower(), known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "--help and --help_beam show the options"
    return UsageError("unknown option", remedy, option=name)


def _check_rules(given: argparse.Namespace) -> None:
    """What the options say by themselves and of each other, without a look at any file."""
    for name in ("connection", "connections", "input_subscription", "warehouse"):
        if getattr(given, name) == "":
            raise UsageError("is empty", "give it a value, or leave it out", option=f"--{name}", value="")
    inputs = [name for name in ("input", "input_subscription") if getattr(given, name) is not None]
    if not inputs and not given.rebuild:
        problem = "one of --input, --input_subscription and --rebuild is required"
        raise UsageError(problem, "for example --input='calls/*.jsonl'")
    if given.rebuild:
        others = [f"--{name}" for name in [*inputs, *(["connection"] if given.connection is not None else [])]]
        if given.history == "none":
            others.append("--history=none")
        for other in others:
            problem = f"reads the identity_calls in the warehouse, as they were recorded, so it excludes {other}"
            raise UsageError(problem, "leave one of the two out", option="--rebuild")
    _check_warehouse(given.warehouse)
    for name, shortest in (("alias_window", _SHORTEST_WINDOW_S), ("deduplicate_for", 0)):
        seconds: float = getattr(given, name)
        if not shortest <= seconds <= _LONGEST_S:
            remedy = f"give a number of seconds from {shortest} to {_LONGEST_S}"
            raise UsageError("is out of range", remedy, option=f"--{name}", value=f"{seconds:g}")
    if given.input_subscription is not None and not _SUBSCRIPTION.fullmatch(given.input_subscription):
        problem = "is a topic" if "/topics/" in given.input_subscription else "is not the full name of a subscription"
        remedy = "give projects/PROJECT_ID/subscriptions/SUBSCRIPTION_ID"
        raise UsageError(problem, remedy, option="--input_subscription", value=given.input_subscription)


def _check_warehouse(url: str | None) -> None:
    forms = "give duckdb:///FILE or bigquery://PROJECT/DATASET"
    if url is None:
        raise UsageError("is required", forms, option="--warehouse")
    if url.startswith("bigquery:"):
        if bigquery.dataset(url) is None:
            remedy = "give bigquery://PROJECT_ID/DATASET, such as bigquery://acme-data/segment"
            raise UsageError("is not the URL of a dataset", remedy, option="--warehouse", value=url)
        return
    if re.match("duckdb:///.", url):
        return
    path = re.sub("^duckdb:/*", "", url)
    remedy = f"give duckdb:///{path}" if path and "://" not in path else forms
    raise UsageError("is no warehouse's URL", remedy, option="--warehouse", value=url)


def _patterns(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every pattern, with the value that it is part of."""
    for value in values:
        yield from ((pattern.strip(), value) for pattern in value.split(","))


def _checked_pattern(pattern: str, value: str) -> str:
    """The pattern as Beam wants it, once it is sure to match files, and only files that can be read."""
    if not pattern:
        raise _refused_input(value, "holds no name", "give a file or a pattern on each side of a comma")
    is_local = FileSystems.get_scheme(pattern) is None
    wanted = os.path.expanduser(pattern) if is_local else pattern
    if is_local and not os.path.isabs(wanted) and re.search("[*?[]", wanted):
        wanted = os.path.join(os.curdir, wanted)  # Beam finds nothing for a pattern that begins with a wildcard
    inside = os.path.join(pattern, "*")
    folder = _refused_input(pattern, "is a folder", f"give the files in it, such as --input={shlex.quote(inside)}")
    if os.path.isdir(wanted) if is_local else wanted.endswith("/"):
        raise folder
    paths = _matched(wanted)
    if not paths and not is_local and _matched(inside):
        raise folder
    if not paths:
        remedy = "give a file, or a pattern, in quotes, that matches one"
        if is_local and os.path.exists(wanted):
            remedy = "this name reads as a pattern: write ? for each [ and * in it"
        elif "," in value:
            remedy += "; a comma separates two: write ? for one in a name"
        raise _refused_input(pattern, "no such file", remedy)
    if is_local:
        for path in paths:
            _check_file(path)
    else:
        _matched(paths[0])  # asks for the file itself, which takes another permission than a listing
    return wanted


def _matched(pattern: str) -> list[str]:
    try:
        return [file.path for file in FileSystems.match([pattern])[0].metadata_list]
    except OSError as error:
        raise _refused_input(pattern, f"cannot be read: {reason(error)}", "give files that you may read") from None
    except ValueError:
        remedy = "give a local path or gs://BUCKET/GLOB"
        raise _refused_input(pattern, "is in no file system known here", remedy) from None


def _check_file(path: str) -> None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _refused_input(path, "is no regular file", "write what it gives to a file first")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise _refused_input(path, f"cannot be read: {reason(error)}", "give files that you may read") from None


def _refused_input(value: str, problem: str, remedy: str) -> UsageError:
    return UsageError(problem, remedy, option="--input", value=value)


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
        raise UsageError("is no runner", choice(given, _RUNNERS), option="--runner", value=given)
    known = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    short = (given.rpartition(".")[2] if given in StandardOptions.ALL_KNOWN_RUNNERS else given).lower()
    return known.get(short) or known.get(f"{short}runner") or given


def _unbounded(runner: str) -> str:
    """The runner of a job on a subscription."""
    if runner == BOUNDED_RUNNER:
        problem = "writes contacts and accounts only when its input has ended, which that of a subscription never does"
        raise UsageError(
            problem, f"leave it out: the job then runs on {UNBOUNDED_RUNNER}", option="--runner", value=runner
        )
    return UNBOUNDED_RUNNER if runner == "DirectRunner" else runner  # it would choose so too, where it can


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


def _check_dataflow(options: PipelineOptions, settings: Settings) -> None:
    """What Dataflow would do wrong, or could not do because its workers are other machines."""
    service = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    experiments = options.view_as(DebugOptions).experiments or []
    for name, given in (("dataflow_service_options", service), ("experiments", experiments)):
        if _AT_LEAST_ONCE in given:
            problem = (
                "would apply a message to the state of its keys several times, and what state counts would be wrong"
            )
            remedy = "leave it out: the job needs the default, exactly once"
            raise UsageError(problem, remedy, option=f"--{name}", value=_AT_LEAST_ONCE)
    if settings.runner != DATAFLOW_RUNNER:
        return
    if settings.warehouse.startswith("duckdb:"):
        problem = "is a file of this machine, which Dataflow's workers cannot write"
        raise UsageError(problem, "give bigquery://PROJECT/DATASET", option="--warehouse", value=settings.warehouse)
    for pattern in settings.inputs:
        if FileSystems.get_scheme(pattern) is None:
            raise _refused_input(
                pattern, "is a file of this machine, which Dataflow's workers cannot read", "give gs://BUCKET/GLOB"
            )

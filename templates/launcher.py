"""What the Flex Template runs in its launcher: checks the parameters, gives the job to Dataflow, and ends.

The launcher starts this file with the template's parameters and Dataflow's own settings as options
(https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates). It must not wait for the job.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from pipeline import command_line
from pipeline.errors import UsageError
from pipeline.options import options_without_secrets, parse, template_arguments
from pipeline.run import launch

IMAGE = "SDK_CONTAINER_IMAGE"
"""The environment variable with the name under which the launcher's image was pushed: workers run the same one."""

_OPTION = "--sdk_container_image"


def main(argv: Sequence[str] | None = None) -> int:
    """Launches the job. Returns 0 when Dataflow has it, and 2 for a mistake in the parameters, which is said in one
    line."""
    command_line.log_to_standard_error()
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO)
    arguments = template_arguments(sys.argv[1:] if argv is None else argv)
    return command_line.run("segment-pipeline", lambda: _launch(arguments))


def _launch(arguments: list[str]) -> int:
    if not any(word.startswith(f"{_OPTION}=") for word in arguments):
        arguments.append(f"{_OPTION}={_image()}")
    launch(*parse(arguments), options_without_secrets(arguments))
    return 0


def _image() -> str:
    image = os.environ.get(IMAGE)
    if not image:
        remedy = "build the image with --build-arg=IMAGE=NAME, or give NAME here"
        raise UsageError("is not known: the name that the template's image was pushed under", remedy, option=_OPTION)
    return image


if __name__ == "__main__":
    sys.exit(main())

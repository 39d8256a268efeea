"""The command line as the tests call it."""

from __future__ import annotations

from places import EXAMPLES
from typer.testing import CliRunner, Result

from abc_hw.cli.main import app

TINY = EXAMPLES / "tiny.toml"


def abc_hw(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """The output of a command that must succeed."""
    result = abc_hw(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """The one line of a command that must find its input unusable."""
    result = abc_hw(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")

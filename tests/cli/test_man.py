"""The man page."""

import re
import subprocess

import pytest

from fping_exporter.cli import main
from fping_exporter.cli.man import man_page
from fping_exporter.cli.parser import build_parser

MACROS = {".TH", ".SH", ".SS", ".TP", ".PP"}


def test_print_man(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print", "man"]) == 0
    assert capsys.readouterr().out == man_page()


def test_every_flag_and_command_is_there() -> None:
    page = man_page().replace("\\-", "-")
    shown = capture_help().splitlines()
    flags = [found[1] for line in shown if (found := re.match(r"  (--[a-z.-]+)", line))]
    assert "--config.file" in flags
    assert [flag for flag in flags if f"\\fB{flag}\\fR" not in page] == []
    for heading in ("list [flags]", "demo [flags]", "print dashboards DIRECTORY", "print man"):
        assert f"\n.SS {heading}\n" in page


def capture_help() -> str:
    return build_parser().format_help()


def test_no_line_is_a_macro_by_mistake() -> None:
    lines = man_page().splitlines()
    assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} == MACROS
    assert all(lines)


@pytest.mark.e2e
def test_mandoc_finds_nothing_wrong() -> None:
    done = subprocess.run(["mandoc", "-Tlint"], input=man_page(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)

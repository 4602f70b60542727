"""The completions, asked as bash asks them."""

import subprocess
from pathlib import Path

import pytest

from fping_exporter.cli import main
from fping_exporter.cli.completion import completion

_ASK = """\
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; } # is for a real completion only
_shtab_fping_exporter
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str, cwd: Path) -> set[str]:
    """Return what bash offers for the last word."""
    done = subprocess.run(
        ["bash", "-uc", _ASK, "bash", "fping-exporter", *words],
        input=completion("bash"),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["l"], {"list"}),
        (["--config."], {"--config.file", "--config.check"}),
        (["list", "--s"], {"--silent", "--storage.path"}),
        (["list", "--log.level", ""], {"debug", "info", "warn", "error"}),
        (["print", "c"], {"config", "completion"}),
        (["print", "completion", ""], {"bash", "tcsh", "zsh"}),
        (["--config.file", "m"], {"mine.yml", "more"}),
        (["--storage.path", "m"], {"more"}),
        (["print", "dashboards", "m"], {"more"}),
    ],
)
def test_bash_offers(words: list[str], offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yml").touch()
    (tmp_path / "more").mkdir()
    assert complete(*words, cwd=tmp_path) == offered


def test_print_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print", "completion", "bash"]) == 0
    assert capsys.readouterr().out == completion("bash") + "\n"


@pytest.mark.parametrize(
    ("shell", "begins"), [("bash", "# AUTOMATICALLY"), ("tcsh", "# AUTOMATICALLY"), ("zsh", "#compdef")]
)
def test_each_shell_has_its_script(shell: str, begins: str) -> None:
    script = completion(shell)
    assert script.startswith(begins)
    assert "web.listen-address" in script


@pytest.mark.e2e
@pytest.mark.parametrize("shell", ["tcsh", "zsh"])
def test_each_shell_can_read_its_script(shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=completion(shell), capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)

"""The documentation: every path, link and anchor in it leads somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fping_exporter.cli.parser import parse_arguments

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "tests/lab/*.md")
    for path in ROOT.glob(pattern)
)
MAPS = sorted([ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
"""Pages whose paths in backticks start at the root of the repository, or of the package."""
BASES = (ROOT, ROOT / "fping_exporter")

_PATH = re.compile(
    r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:css|html|json|lock|md|prom|py|service|sh|tmpl|toml|yml)))`"
)
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
_METRIC_ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| [\w, ]*\|", re.MULTILINE)
_METRIC = re.compile(r"(?<![\w./-])fping_exporter_[a-z0-9_]*[a-z0-9](?![\w{*-])")
_CODE = re.compile(r"^```.*?^```|^ {4}.*?$", re.DOTALL | re.MULTILINE)


def paths(page: Path) -> list[str]:
    return _PATH.findall(page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield path and anchor of each link that stays within the repository."""
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target = "".join(link)
        if not re.match(r"\w+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MAPS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page: Path) -> None:
    assert [each for each in paths(page) if not any((base / each).exists() for base in BASES)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "ansible" not in page.parts],  # there it is variables
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_metric_of_the_exporter_that_is_named_exists(page: Path) -> None:
    rows = _METRIC_ROW.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))
    documented = {f"fping_exporter_{name}" for row in rows for name in re.findall(r"\w+", row)}
    assert "fping_exporter_packets_received_total" in documented
    assert set(_METRIC.findall(page.read_text(encoding="utf-8"))) <= documented


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_command_line_takes_every_command_that_is_named(page: Path) -> None:
    for command in commands(page):
        assert parse_arguments(command), command


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of each `fping-exporter COMMAND ...`, with an instance where one is due."""
    text = re.sub(r" ID\|NAME\|ADDRESS(\.\.\.)?", "", page.read_text(encoding="utf-8"))
    found = re.findall(r"`fping-exporter ((?:list|explain|wait|demo) ?[^`|\n]*)[`|]", text)
    split = [shlex.split(each) for each in found]
    named = {"explain", "wait"}
    return [each[:1] + ["web-1"] * (each[0] in named) + each[1:] for each in split]


def test_a_flag_that_is_gone_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("`fping-exporter wait --gone`, `fping-exporter list`", encoding="utf-8")
    gone, right = commands(page)
    assert parse_arguments(right)
    with pytest.raises(SystemExit):
        parse_arguments(gone)
    assert "--gone" in capsys.readouterr().err


def test_the_map_answers_twenty_questions_at_least() -> None:
    contributing = ROOT / "CONTRIBUTING.md"
    questions = re.findall(r"^\| .+\? \| `", contributing.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(questions) >= 20
    assert len(set(paths(contributing))) >= len(questions)


def test_every_decision_is_listed_and_dated() -> None:
    decisions = ROOT / "docs" / "decisions"
    pages = {path.name for path in decisions.glob("*.md")} - {"README.md"}
    assert {path for path, _ in links(decisions / "README.md") if "/" not in path} == pages
    for name in pages:
        text = (decisions / name).read_text(encoding="utf-8")
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", text), name


def test_a_path_that_is_gone_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("See `web/gone.py`, `model.py`, `name[]` and [there](gone.md#x).", encoding="utf-8")
    assert paths(page) == ["web/gone.py", "model.py"]
    assert list(links(page)) == [("gone.md", "x")]

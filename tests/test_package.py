"""The metadata of the distribution; `make dist` builds it and checks its contents."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOME = PROJECT["project"]["urls"]["Homepage"]


def shown_readme() -> str:
    """The README after the substitutions that hatch-fancy-pypi-readme makes."""
    text = (ROOT / "README.md").read_text()
    for each in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def test_links_and_pictures_of_the_readme_are_absolute() -> None:
    links = re.findall(r"\]\(([^)]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", shown_readme())
    targets = [first or second for first, second in links]
    assert [target for target in targets if not target.startswith(("https://", "http://", "#"))] == []
    ours = [target.removeprefix(HOME).partition("#")[0] for target in targets if target.startswith(HOME)]
    assert "docs/status-dark.png" in ours
    assert "deploy/os-fping.md" in ours
    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_all_addresses_of_the_project_are_in_one_place() -> None:
    assert all(url.startswith(HOME) for url in PROJECT["project"]["urls"].values())

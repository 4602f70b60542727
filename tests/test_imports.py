"""Imports point one way: from the commands down to the values."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fping_exporter"

LAYERS = (
    {"__main__"},
    {"cli", "openstackclient"},
    {"service", "demo", "wait"},
    {"cloud_unit"},
    {"web", "os_fping", "httpd"},
    {"fleet_monitor"},
    {"explanation", "monitor"},
    {"lister", "snapshot", "together"},
    {"verdict", "cloud", "fleet", "metrics", "storage"},
    {"probe"},
    {"config"},
    {"history", "instance_lookup", "single_flight"},
    {"model"},
    {"timeline"},
    {"errors", "hosts", "http_deadline", "log", "log_limit", "nova_status", "open_files", "systemd", "text"},
    {"log_context"},
)
"""From the top down: a module may import what is below it, and its own wing."""

KNOW_HTTPD = {"cli", "service", "httpd"}


def wing(module: str) -> str:
    """The first name under the package."""
    return module.split(".")[1]


def imports() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [each.name for each in names]
                case ast.ImportFrom(module="fping_exporter", names=names):
                    modules = [f"fping_exporter.{each.name}" for each in names if each.name != "__version__"]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            yield from ((name, module) for module in modules if module.startswith("fping_exporter."))


CROSSINGS = sorted(
    {
        (wing(importer), wing(imported))
        for importer, imported in imports()
        if "." in importer and wing(importer) != wing(imported)
    }
)


def test_every_module_has_a_layer() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names - {"__init__", "__pycache__", "py"} == set().union(*LAYERS)


@pytest.mark.parametrize(("importer", "imported"), CROSSINGS)
def test_imports_point_down(importer: str, imported: str) -> None:
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    assert layer[importer] < layer[imported]


@pytest.mark.parametrize("importer", [importer for importer, imported in CROSSINGS if imported == "httpd"])
def test_few_know_the_server(importer: str) -> None:
    assert importer in KNOW_HTTPD


def test_only_the_plugin_knows_openstackclient() -> None:
    libraries = {"cliff", "openstackclient", "osc_lib"}
    knowing = {
        path.parent.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in libraries
    }
    assert knowing == {"openstackclient"}

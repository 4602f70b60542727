"""The files that the package ships beside its code: sample configuration, alert rules, dashboards.

A wheel has them under ``fping_exporter/shipped``, at the paths of the repository (see pyproject.toml); in a
checkout they stand where they are written.
"""

from collections.abc import Iterator
from pathlib import Path

from fping_exporter.errors import ConfigError

__all__ = ["alert_rules", "dashboards", "sample_config", "write_dashboards"]

_PACKAGE = Path(__file__).parents[1]
_IN_WHEEL = _PACKAGE / "shipped"
_ROOT = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent


def sample_config() -> Path:
    """Return the path of the sample configuration."""
    return _ROOT / "deploy" / "fping-exporter.yml"


def alert_rules() -> Path:
    """Return the path of Prometheus's rule file."""
    return _ROOT / "deploy" / "prometheus" / "fping-exporter.rules.yml"


def dashboards() -> list[Path]:
    """Return the paths of the Grafana dashboards, in JSON."""
    return sorted((_ROOT / "grafana" / "dashboards").glob("*.json"))


def write_dashboards(directory: Path) -> Iterator[Path]:
    """Copy the dashboards into `directory`, over older ones; yield the path of each copy.

    Raises ConfigError where a file cannot be written.
    """
    for source in dashboards():
        target = directory / source.name
        try:
            target.write_bytes(source.read_bytes())
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written: {error.strerror}") from None
        yield target

"""Write every dashboard as the JSON that Grafana provisions: ``python -m grafana``."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import cloud, exporter, instance, project

__all__ = ["DASHBOARDS", "render"]

DASHBOARDS = Path(__file__).parent / "dashboards"


def render() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {
        f"{module.UID}.json": json.dumps(
            module.build().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for module in (cloud, project, instance, exporter)
    }


if __name__ == "__main__":
    for name, text in render().items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")

"""The drop-down lists above the instance table."""

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from fping_exporter.model import Inventory, Reason
from fping_exporter.text import printable
from fping_exporter.web.ping_state import PingState

__all__ = ["Filter", "build_filters"]


class Filter(NamedTuple):
    """A drop-down list; there may be thousands of hypervisors and projects, so it is rendered once a list."""

    label: str
    options: Markup

    def select(self, value: str) -> Markup:
        """Return the options with the one of `value` selected; an empty value selects none.

        A value without an option, such as the name of a project or a hypervisor that is gone, gets one: the
        form shows what filters the table, and keeps it when another filter is set.
        """
        if not value:
            return self.options
        option = _option(value)
        rendered = str(self.options)
        if option not in rendered:
            rendered = f"{_render([(value, value)])}\n{rendered}"
        return Markup(rendered.replace(option, f"{option[:-1]} selected>", 1))  # noqa: S704, escaped in both


def build_filters(inventory: Inventory) -> dict[str, Filter]:
    """Return the drop-down lists that have options, by the name of their query parameter."""
    instances = inventory.instances
    projects = {id_: inventory.project_name(id_) for id_ in {i.project_id for i in instances}}
    # A project name is unique only within its domain.
    name_counts = Counter(projects.values())
    labels = {id_: name if name_counts[name] == 1 else f"{name} ({id_})" for id_, name in projects.items()}
    statuses = sorted({i.status for i in instances})
    hypervisors = sorted({i.hypervisor for i in instances if i.hypervisor})
    options: dict[str, tuple[str, Iterable[tuple[str, str]]]] = {
        "project": ("Project", sorted(labels.items(), key=lambda option: option[1].casefold())),
        "status": ("Nova status", zip(statuses, statuses, strict=True)),
        "ping": ("Ping", _PING),
        "hypervisor": ("Hypervisor", zip(hypervisors, hypervisors, strict=True)),
    }
    filters = {name: Filter(label, _render(pairs)) for name, (label, pairs) in options.items()}
    return {name: each for name, each in filters.items() if each.options}


_PING: tuple[tuple[str, str], ...] = (
    (PingState.ALIVE, "answers"),
    ("though_off", "answers: though off"),
    ("silent", "silent"),
    (PingState.STOPPED, "silent: stopped answering"),
    (PingState.NEVER, "silent: never answered"),
    ("layer2", "silent: answers at layer 2"),
    (PingState.UNASKED, "not asked"),
    *((reason, reason.replace("_", " ")) for reason in Reason),
)


def _render(options: Iterable[tuple[str, str]]) -> Markup:
    """Render options, each a value of the query parameter and the text that is shown for it."""
    rendered = [f"{_option(value)}{escape(printable(text))}</option>" for value, text in options]
    return Markup("\n".join(rendered))  # noqa: S704, values and texts are escaped


def _option(value: str) -> str:
    return f'<option value="{escape(value)}">'

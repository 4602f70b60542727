"""Content negotiation: every legal Accept header gets a format, and the one that it prefers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from werkzeug.http import parse_options_header

from fping_exporter.metrics.formats import choose_format

TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_2 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        ("text/plain", TEXT),
        (CHROMIUM, TEXT),
        ("image/png", TEXT),
        ("text/plain;version=0.0.4;escaping=values", TEXT),
        ("text/plain;version=1.0.0", TEXT_1),
        ("text/plain;version=1.0.0;escaping=values", TEXT_1.replace("underscores", "values")),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        ("application/*", OPENMETRICS),
        ('application/openmetrics-text;version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text ; version=1.0.0 ; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text;escaping=dots", OPENMETRICS),
        ('application/openmetrics-text;escaping="a;b\r\n"', OPENMETRICS),
        (PROMETHEUS_2, TEXT),
        (PROMETHEUS_3, OPENMETRICS.replace("underscores", "allow-utf-8")),
        # Versions that do not exist
        ("application/openmetrics-text;version=abc", TEXT),
        ("application/openmetrics-text;version=1.0.0-rc.0", TEXT),
        ("application/openmetrics-text;version=2.0.0,application/openmetrics-text;q=0.1", OPENMETRICS),
        ("text/plain;version=1.x", TEXT),
        # Qualities
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0.9,text/plain;q=0.1", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0,application/openmetrics-text", TEXT),
        ("text/plain;q=0,*/*;q=0.1", OPENMETRICS),
        ("text/plain;version=0.0.4;q=0.5,text/plain;version=1.0.0;q=0.6", TEXT_1),
        ("application/openmetrics-text;q=2,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text,text/plain", OPENMETRICS),
        ("text/plain,application/openmetrics-text", TEXT),
    ],
)
def test_the_format_that_a_header_prefers(accept: str, content_type: str) -> None:
    assert choose_format(accept).content_type == content_type


def names_in(content_type: str, body: str) -> set[str]:
    parse = parse_openmetrics if content_type.startswith("application/openmetrics-text;") else parse_text
    return {family.name for family in parse(body)}


MEDIA_RANGES = ("application/openmetrics-text", "text/plain", "*/*", "text/*", "*", "")
PARAMETERS = (
    *("version=1.0.0", 'version="0.0.4"', "version=abc", "version=1.x", 'version="'),
    *("q=0.5", "q=0", "q=x", "escaping=dots", "escaping", " "),
)
RANGES = st.builds(
    lambda media_range, parameters: ";".join([media_range, *parameters]),
    st.sampled_from(MEDIA_RANGES) | st.text(max_size=8),
    st.lists(st.sampled_from(PARAMETERS) | st.text(max_size=8), max_size=4),
)


@given(st.lists(RANGES, max_size=4).map(",".join) | st.text())
@example('application/openmetrics-text;version="1.0.0')
def test_any_header_gets_what_the_content_type_says(accept: str) -> None:
    registry = CollectorRegistry()
    Counter("asked", "How often.", registry=registry).inc()
    chosen = choose_format(accept)
    assert names_in(chosen.content_type, chosen.encode(registry).decode()) >= {"asked"}
    _, parameters = parse_options_header(chosen.content_type)
    assert parameters["version"] in {"0.0.4", "1.0.0"}
    assert parameters.get("escaping", "underscores") in {"underscores", "allow-utf-8", "values"}
    assert ("escaping" in parameters) == (parameters["version"] == "1.0.0")

"""Whatever a cloud says, it can be explained, and the explanation harms nobody."""

import msgspec
from hypothesis import given, settings

from fping_exporter.cli.explanation_text import as_text
from fping_exporter.explanation.build import without_others
from fping_exporter.explanation.values import Explanation
from tests.build import NOW
from tests.explanation.worlds import SECRET, Explained, explained


@settings(deadline=None)
@given(explained())
def test_every_instance_can_be_explained(found: list[Explained]) -> None:
    for explanation, snapshot in found:
        text = as_text(explanation, now=NOW)
        assert all(line.isprintable() for line in text.split("\n"))
        body = msgspec.json.encode(explanation)
        assert msgspec.json.decode(body, type=Explanation) == explanation
        assert SECRET not in text
        assert SECRET.encode() not in body
        [verdict] = [each for each in snapshot.verdicts if each.instance.id == explanation.id]
        assert (explanation.alive, explanation.reason) == (verdict.alive, verdict.reason)
        assert [each.ip for each in explanation.addresses] == [each.ip for each in verdict.instance.addresses]
        for told in explanation.addresses:
            assert (told.sent is None) == (told.why_not_asked is not None)


@settings(deadline=None)
@given(explained())
def test_a_tenant_learns_nothing_of_others(found: list[Explained]) -> None:
    for explanation, _ in found:
        told = without_others(explanation)
        assert all(other == type(other)(None, None) for each in told.addresses for other in each.others)
        assert all(each.exporter is None for each in told.witnesses)

"""Names with lone surrogates, which Nova passes on as Python writes them."""

import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from fping_exporter.cloud.surrogates import replace_lone_surrogates
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import Standin
from tests.cloud.faulty import FaultyCloud, connect

SURROGATES = "".join(map(chr, range(0xD800, 0xE000)))


@given(st.text(st.characters() | st.sampled_from(SURROGATES) | st.sampled_from('\\u"\U0001f600')))
@example("\\ud800")
@example("\ud83d\ud83d\ude00\ude00")
def test_only_lone_surrogates_are_replaced(text: str) -> None:
    read = msgspec.json.decode(replace_lone_surrogates(json.dumps({"name": text}).encode()))
    # UTF-16 joins what happens to be a pair, as JSON does.
    assert read["name"] == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def test_a_server_with_such_a_name_is_listed(standin: FaultyCloud) -> None:
    def with_surrogate(request: Request) -> Answer:
        body = json.dumps(msgspec.to_builtins(Standin.answer(standin, request).body))
        return Answer(200, body.replace("vm-0", "vm-\\ud800").encode())

    standin.servers[0].name = "vm-0"
    standin.fail("/compute/v2.1/servers/detail", with_surrogate)
    instances = connect(standin).cloud.inventory().instances
    assert len(instances) == len(standin.servers)
    assert "vm-\ufffd" in {instance.name for instance in instances}

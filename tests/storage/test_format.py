"""The file: what it gives back, how old that is, and what is refused."""

import gzip
import json
import time
from collections.abc import Callable
from io import BytesIO

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter.errors import StorageError
from fping_exporter.history import RETENTION, History
from fping_exporter.model import Port, Topology
from fping_exporter.storage.clock import Moment
from fping_exporter.storage.format import State, read, write
from tests.build import NOW, instance, inventory
from tests.storage.clock import at
from tests.storage.worlds import SCOPE, packed, state_of, states

SLEPT = 30.0
REPLIED = History(last_replies={"a": NOW - 5, "b": NOW - 7000}, unlisted_since={"b": NOW - 6000})


def unpack(data: bytes, *, now: Moment, **scope: object) -> State:
    return read(BytesIO(data), scope=SCOPE | scope, now=now)  # type: ignore[arg-type]


def age(state: State) -> float:
    return time.monotonic() - state.list_began


@settings(max_examples=25)
@given(states)
def test_what_is_written_is_read(state: State) -> None:
    before = age(state)
    again = unpack(packed(state, now=at()), now=at(SLEPT, uptime=5000 + SLEPT))
    assert age(again) == pytest.approx(before + SLEPT, abs=5)
    assert again.inventory == msgspec.structs.replace(state.inventory, listed_at=again.inventory.listed_at)
    assert again.unconfirmed == state.unconfirmed
    assert again.history.begun_at == state.history.begun_at
    assert again.history.last_replies == state.history.last_replies
    assert again.history.missed == state.history.missed
    assert again.history.launches == state.history.launches
    assert again.history.timelines == state.history.timelines
    assert again.history.sweeps == (state.history.sweeps if state.history.timelines else ())


def test_a_file_from_before_there_were_timelines_is_read() -> None:
    header, *slices = gzip.decompress(packed(state_of(inventory(), history=REPLIED), now=at())).splitlines()
    old = [json.loads(line) for line in slices]
    for each in old:
        for name in ("sweeps", "timelines"):
            each.get("history", {}).pop(name, None)
    lines = [header, *(json.dumps(each).encode() for each in old)]
    again = unpack(gzip.compress(b"\n".join(lines)), now=at())
    assert again.history.last_replies == REPLIED.last_replies
    assert again.history.timelines == {}


def test_more_than_a_slice_of_everything_is_read_in_its_order() -> None:
    ids = [f"{number:04}" for number in range(1234, 0, -1)]
    port = Port("net", "aa:bb", {"10.0.0.1": "subnet"}, None, "device")
    there = inventory(
        *(instance(id_, "10.0.0.1") for id_ in ids),
        topology=Topology(
            ports=dict.fromkeys(ids, (port,)),
            claims=dict.fromkeys(ids, frozenset({"x", "y"})),
            distributed=frozenset({"router"}),
        ),
    )
    history = History(last_replies=dict.fromkeys(ids, NOW - 1.25))
    data = packed(state_of(there, history=history), now=at())
    assert len(gzip.decompress(data).splitlines()) == 1 + 13 + (1 + 13 + 13) + (1 + 13)
    again = unpack(data, now=at())
    assert again.inventory == there
    assert list(again.inventory.topology.ports) == ids
    assert again.history.last_replies == history.last_replies


def test_whatever_metadata_nova_admits_are_stored() -> None:
    """A tenant must not be able to keep the state of the whole cloud from the disk."""
    metadata = {f"{number:0255}": "\x01" * 255 for number in range(128)}
    there = inventory(*(instance(str(number), metadata=metadata) for number in range(150)))
    assert unpack(packed(state_of(there), now=at()), now=at()).inventory == there


def test_a_header_alone_is_an_empty_list() -> None:
    header, *_ = gzip.decompress(packed(state_of(inventory()), now=at())).splitlines(keepends=True)
    alone = unpack(gzip.compress(header), now=at())
    assert (alone.inventory, alone.history) == (inventory(), History())


def test_a_list_is_as_old_as_it_is() -> None:
    there = msgspec.structs.replace(inventory(), listed_at=NOW - 100)
    data = packed(state_of(there, age=100), now=at())
    again = unpack(data, now=at(SLEPT, uptime=5000 + SLEPT))
    assert age(again) == pytest.approx(100 + SLEPT, abs=1)
    assert again.inventory.listed_at == NOW - 100


def test_a_clock_that_was_set_back_makes_nothing_look_fresh() -> None:
    there = msgspec.structs.replace(inventory(), listed_at=NOW - 100)
    data = packed(state_of(there, age=100, history=REPLIED), now=at())
    now = at(-3600, uptime=5000 + SLEPT)
    again = unpack(data, now=now)
    assert age(again) == pytest.approx(100 + SLEPT, abs=1)
    assert now.unix - again.inventory.listed_at == pytest.approx(100 + SLEPT, abs=1)
    ago = {id_: now.unix - replied for id_, replied in again.history.last_replies.items()}
    assert ago == pytest.approx({"a": 5 + SLEPT, "b": 7000 + SLEPT})


def test_after_a_reboot_what_is_from_the_future_is_refused() -> None:
    data = packed(state_of(inventory()), now=at())
    with pytest.raises(StorageError, match=r"it was written 60 s in the future, so a clock is or was wrong"):
        unpack(data, now=at(-60, boot="two"))


def test_instances_are_remembered_for_a_day_after_the_last_list_that_had_them() -> None:
    data = packed(state_of(inventory(), history=REPLIED), now=at())

    def remembered(slept: float) -> History:
        return unpack(data, now=at(slept, uptime=5000 + slept)).history

    assert remembered(60).unlisted_since == {"a": NOW, "b": NOW - 6000}
    assert set(remembered(RETENTION - 6000).last_replies) == {"a"}
    assert remembered(RETENTION) == History()


def change_header(**changes: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        header, *slices = gzip.decompress(data).splitlines(keepends=True)
        changed = json.dumps(json.loads(header) | changes).encode() + b"\n"
        return gzip.compress(changed + b"".join(slices))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"", "it is damaged"),
        (lambda _: b"# a text", r"it is damaged \(Not a gzipped file"),
        (lambda _: gzip.compress(b""), "it is damaged"),
        (lambda _: gzip.compress(b"{}"), "it is no state of fping-exporter"),
        (lambda _: gzip.compress(b"[" * 100_000), "it is damaged"),
        (lambda data: data[:-1], "it is damaged"),
        (lambda data: data[:-8] + bytes(4) + data[-4:], r"it is damaged \(CRC check failed"),
        (lambda data: data + b"more", "it is damaged"),
        (change_header(version=2), "it is of version 2 of the format, not of 1"),
        (change_header(inventory={}), "it is damaged"),
        (change_header(list_age=-1), "it is damaged"),
        (
            change_header(scope={"cloud": "other", "projects": ["alpha", "beta"]}),
            r"it is of another cloud, .* \(changed: all_projects, auth.auth_url, cloud\)",
        ),
    ],
)
def test_what_is_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    data = packed(state_of(inventory(instance("a", "10.0.0.1"))), now=at())
    with pytest.raises(StorageError, match=reason):
        unpack(change(data), now=at())


def test_what_is_too_large_is_neither_read_nor_written() -> None:
    state = state_of(inventory(*(instance(str(number)) for number in range(1000))))
    data = packed(state, now=at())
    size = len(gzip.decompress(data))
    write(state, BytesIO(), scope=SCOPE, now=at(), max_bytes=size + 20)  # the age of the list has more digits
    with pytest.raises(StorageError, match="the state has more than"):
        write(state, BytesIO(), scope=SCOPE, now=at(), max_bytes=size - 20)
    read(BytesIO(data), scope=SCOPE, now=at(), max_bytes=size)
    with pytest.raises(StorageError, match=f"it has more than {size - 1} bytes"):
        read(BytesIO(data), scope=SCOPE, now=at(), max_bytes=size - 1)


def test_a_line_that_does_not_end_is_not_read_to_its_end() -> None:
    header = gzip.decompress(packed(state_of(inventory()), now=at())).splitlines(keepends=True)[0]
    with pytest.raises(StorageError, match="or a line that is too long"):
        unpack(gzip.compress(header + bytes(1 << 26), 1), now=at())


WHOLE = packed(state_of(inventory(instance("a", "10.0.0.1")), history=REPLIED), now=at())
BITS = st.integers(0, 8 * len(WHOLE) - 1)


@given(flipped=st.sets(BITS, max_size=3), length=st.just(len(WHOLE)) | st.integers(0, len(WHOLE)))
def test_damage_is_noticed(flipped: set[int], length: int) -> None:
    good = unpack(WHOLE, now=at())
    damaged = bytearray(WHOLE)
    for bit in flipped:
        damaged[bit // 8] ^= 1 << bit % 8
    damaged = damaged[:length]
    try:
        read_back = unpack(bytes(damaged), now=at())
    except StorageError:
        return
    # What gzip's checksum does not cover is the time and the system in its header, which nobody reads.
    assert read_back.inventory == good.inventory
    assert read_back.history == good.history

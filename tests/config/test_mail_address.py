"""Which texts are mail addresses; tests/deploy/test_addresses.py asks Alertmanager about the same."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config.mail_address import are_mail_addresses

GOOD = [
    "ops@example.org",
    "a@b",
    "root@localhost",
    "Ops.Team@Alpha.Example",
    "ops+alerts@example.org",
    "first.last-name_2@mail-1.example.co.uk",
    "ops@xn--bcher-kva.example",
    "-ops-@example.org",
    "123@456.example",
    "!#$%&'*+-/=?^_`{|}~@example.org",
    f"{'l' * 64}@example.org",
    f"ops@{'d' * 63}.example",
]
BAD = [
    "",
    "ops",
    "@example.org",
    "ops@",
    "<ops@example.org",
    "<ops@example.org>",
    "Ops <ops@example.org>",
    '"ops"@example.org',
    'o"ps@example.org',
    "ops (night)@example.org",
    "o\\ps@example.org",
    "ops:@example.org",
    "ops;@example.org",
    "ops@@example.org",
    "ops@night@example.org",
    ".ops@example.org",
    "ops.@example.org",
    "o..ps@example.org",
    "ops@.example.org",
    "ops@example.org.",
    "ops@example..org",
    "ops@-example.org",
    "ops@example-.org",
    "ops@exam_ple.org",
    "ops@[192.0.2.1]",
    "ops@bücher.example",
    "öps@example.org",
    " ops@example.org",
    "ops@example.org ",
    "ops@example.org\n",
    "ops@example.org\r\nBcc: all@example.org",
    "ops\x00@example.org",
    "ops\x7f@example.org",
    "o\u200bps@example.org",
    f"{'l' * 65}@example.org",
    f"ops@{'d' * 64}.example",
    f"ops@{'.'.join(['d' * 60] * 5)}",
]
ATEXT = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~"
DOT_ATOMS = st.lists(st.text(ATEXT, min_size=1, max_size=9), min_size=1, max_size=5).map(".".join)
HOSTS = st.lists(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), min_size=1, max_size=5
).map(".".join)
ADDRESSES = st.builds("{}@{}".format, DOT_ATOMS, HOSTS)


@pytest.mark.parametrize("address", GOOD)
def test_an_address(address: str) -> None:
    assert are_mail_addresses(address)


@pytest.mark.parametrize("address", BAD)
def test_no_address_alone_or_in_any_place_of_a_list(address: str) -> None:
    assert not are_mail_addresses(address)
    assert not are_mail_addresses(f"{address},ops@example.org")
    assert not are_mail_addresses(f"ops@example.org,{address}")


@pytest.mark.parametrize("text", [",", "ops@example.org,", "admin,ops@alpha.example", "a@x.org, b@x.org"])
def test_no_list(text: str) -> None:
    assert not are_mail_addresses(text)


@given(st.lists(ADDRESSES, min_size=1, max_size=5))
def test_any_list_of_dot_atoms_at_hosts(addresses: list[str]) -> None:
    assert are_mail_addresses(",".join(addresses))


@given(st.text(st.sampled_from('ab.@,-<>"\\ ()[]:;\n\r\t\x00é')) | st.text())
def test_what_passes_is_made_of_nothing_else(text: str) -> None:
    """The grammar once more, without a regular expression."""

    def dot_atom(part: str) -> bool:
        return all(part.split(".")) and not set(part) - set(ATEXT + ".")

    if are_mail_addresses(text):
        for address in text.split(","):
            local, at, domain = address.partition("@")
            assert at
            assert dot_atom(local)
            assert dot_atom(domain)


@given(ADDRESSES, st.integers(0), st.characters(exclude_characters=ATEXT + ".,@"))
def test_a_character_of_another_kind_spoils_it(address: str, place: int, character: str) -> None:
    place %= len(address) + 1
    assert not are_mail_addresses(address[:place] + character + address[place:])

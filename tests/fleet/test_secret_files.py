"""Files with secrets are read in one way, whoever asks for them, and no error quotes them."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.errors import ConfigError
from fping_exporter.fleet.credentials import read_credentials
from fping_exporter.fleet.prometheus import Prometheus
from fping_exporter.fleet.secret_files import read_secret
from fping_exporter.fleet.share import Share
from tests.fleet.test_share import Seen

READERS: dict[str, Callable[[str], object]] = {
    "inventory.password_file": lambda path: read_credentials(
        config.CentralInventory(
            central=("https://central",), host="self", username="agent", password_file=path
        )
    ),
    "fleet.password_file": lambda path: Prometheus(
        config.Fleet(prometheus="http://prometheus", username="central", password_file=path)
    ),
    "fleet.bearer_token_file": lambda path: Prometheus(
        config.Fleet(prometheus="http://prometheus", bearer_token_file=path)
    ),
    "share.password_file": lambda path: Share(
        config.Share("redis://localhost", password_file=path), observer=Seen(), exports=bool
    ),
}


@pytest.fixture(params=READERS)
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n", "s3:cret"])
def test_a_line_with_or_without_its_end_is_taken(key: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    READERS[key](str(path))


@pytest.mark.parametrize("content", [b"", b"\n", b"s3cret\nmore", b"s3cret\0", b"s3cret\t", b"s3cret\xff"])
def test_what_is_no_line_is_refused(key: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        READERS[key](str(path))
    assert str(refused.value) == f"{key}: {path}: expected one line of text"


@pytest.mark.parametrize(
    ("path", "reason"), [("none", "No such file or directory"), (".", "Is a directory"), ("\0", "not a path")]
)
def test_what_cannot_be_read_is_named(
    key: str, path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        READERS[key](path)
    assert str(refused.value) == f"{key}: {path}: cannot be read: {reason}"


def test_an_agent_sends_a_password_of_any_letters(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("pass: wörd\n", encoding="utf-8")
    settings = config.CentralInventory(
        central=("https://central",), host="self", username="agent", password_file=str(path)
    )
    scheme, _, sent = read_credentials(settings).headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(sent).decode()) == ("Basic", "agent:pass: wörd")


@given(st.binary(max_size=8) | st.text(max_size=8).map(str.encode))
def test_whatever_is_in_a_file_is_its_line_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("secret") / "file"
    path.write_bytes(content)
    try:
        secret = read_secret("a.b", str(path))
    except ConfigError as error:
        assert str(error) == f"a.b: {path}: expected one line of text"
    else:
        assert secret.isprintable()
        assert content.rstrip(b"\r\n") == secret.encode()

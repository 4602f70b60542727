"""Instant and range queries through the HTTP API that Prometheus, Thanos, Mimir and VictoriaMetrics share.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import base64
import email.utils
import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

import msgspec

from fping_exporter import config
from fping_exporter.errors import ConfigError, FleetError
from fping_exporter.fleet.secret_files import read_secret
from fping_exporter.fleet.tls import make_context
from fping_exporter.http_deadline import TooLateError, pools
from fping_exporter.text import printable

if TYPE_CHECKING:
    import urllib3

__all__ = ["MAX_BODY_BYTES", "Answer", "Element", "Prometheus", "RangeAnswer", "Series"]

MAX_BODY_BYTES = 256 << 20
"""How large an answer may be once it is decompressed; the one on 100,000 instances has 15 to 20 MB."""

_CONNECT_SECONDS = 5.0
_PIECE_BYTES = 256 << 10
_OK = 200
_REDIRECTS = range(300, 400)


class Element(msgspec.Struct, frozen=True, gc=False):
    """One series of an instant vector."""

    metric: dict[str, str]
    """Its labels."""
    value: tuple[float, str]
    """When it was evaluated, in Unix seconds, and the value, which may be ``NaN`` or ``+Inf``."""


class Series(msgspec.Struct, frozen=True, gc=False):
    """One series of a range vector."""

    metric: dict[str, str]
    """Its labels."""
    values: list[tuple[float, str]]
    """Times of evaluation, in Unix seconds, and values; times without a value are left out."""


class Answer(NamedTuple):
    """The instant vector of a query."""

    elements: list[Element]
    now: float
    """Unix time by the server's clock at which it answered; by this machine's if the server does not say."""
    partial: bool
    """Whether the server warns that something may be missing."""


class RangeAnswer(NamedTuple):
    """The range vector of a query."""

    series: list[Series]
    partial: bool
    """As in :class:`Answer`."""


class Prometheus:
    """A client for one server. It is used by one thread at a time."""

    def __init__(self, settings: config.Fleet, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        """Read the files that `settings` name; raises ConfigError for one that cannot be used."""
        self._max_body_bytes = max_body_bytes
        self._settings = settings
        self._url = f"{settings.prometheus.rstrip('/')}/api/v1/query"
        """Of instant queries; that of range queries begins so."""
        self._deadline = 0.0
        import urllib3  # noqa: PLC0415, of an agent it would take some MiB, and it reads no Prometheus

        self._pool = urllib3.PoolManager(
            ssl_context=make_context(settings, section="fleet") if self._url.startswith("https:") else None,
            retries=False,
        )
        self._pool.pool_classes_by_scheme = pools(lambda: self._deadline - time.monotonic())
        self._headers()

    def query(self, expression: str, *, deadline: float) -> Answer:
        """Evaluate an expression of PromQL now; raises FleetError if there is no whole answer by `deadline`.

        That is a time by the monotonic clock, in seconds. Only the resolver may take longer. Raises
        ConfigError if a file with a secret can no longer be read.
        """
        return self.parse(*self._post(self._url, {"query": expression}, deadline=deadline))

    def query_range(
        self, expression: str, *, start: float, end: float, step: float, deadline: float
    ) -> RangeAnswer:
        """Evaluate an expression each `step` seconds from `start` to `end`, Unix times; raises as `query`."""
        url = f"{self._url}_range"
        fields = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        status, headers, body = self._post(url, fields, deadline=deadline)
        data, partial = _decode(_MATRIX, url, status, headers, body)
        return RangeAnswer(data.result, partial)

    def _post(
        self, url: str, fields: Mapping[str, str], *, deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._deadline = deadline
        left = deadline - time.monotonic()
        if left <= 0:
            raise FleetError(f"{url}: not asked, there is no time left")
        headers = self._headers()
        import urllib3  # noqa: PLC0415, as above

        try:
            response = self._pool.request(
                "POST",
                url,
                # VictoriaMetrics would look half a minute back without nocache; the others ignore it.
                fields={**fields, "timeout": f"{max(left, 1):.0f}s", "nocache": "1"},
                encode_multipart=False,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, left), read=left),
                redirect=False,
                preload_content=False,
            )
            try:
                body = self._read(response, url)
            finally:
                response.release_conn()
        except TooLateError:
            raise FleetError(f"{url}: no complete answer within {left:.0f} s") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FleetError(f"{url}: {_describe(error)}") from error
        return response.status, response.headers, body

    def _read(self, response: "urllib3.BaseHTTPResponse", url: str) -> bytes:
        body = bytearray()
        for piece in response.stream(_PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > self._max_body_bytes:
                response.close()
                raise FleetError(
                    f"{url}: the answer is larger than {self._max_body_bytes >> 20} MiB; restrict it "
                    "to series of this cloud (fleet.match)"
                )
        return bytes(body)

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer in a response; raises FleetError if it is none, or an error."""
        data, partial = _decode(_VECTOR, self._url, status, headers, body)
        elements = data.result
        evaluated = max((element.value[0] for element in elements[:1]), default=0.0)
        return Answer(
            elements,
            # A server may evaluate at an earlier time than now, as VictoriaMetrics does by default.
            now=max(evaluated, _parse_date(headers.get("Date", ""))) or time.time(),
            partial=partial,
        )

    def _headers(self) -> dict[str, str]:
        """Return the headers of a request; the files with secrets are read anew, as they may be replaced."""
        settings = self._settings
        headers = {"Accept-Encoding": "gzip", "User-Agent": "fping-exporter", **settings.headers}
        if settings.username is not None and settings.password_file is not None:
            password = read_secret("fleet.password_file", settings.password_file)
            pair = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        if settings.bearer_token_file is not None:
            token = _read_token(settings.bearer_token_file)
            headers["Authorization"] = f"Bearer {token}"
        return headers


class _Vector(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    result_type: Literal["vector"]
    result: list[Element]


class _Matrix(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    result_type: Literal["matrix"]
    result: list[Series]


_Data = TypeVar("_Data", _Vector, _Matrix)


class _Body(msgspec.Struct, Generic[_Data], frozen=True, gc=False, rename="camel"):
    """The envelope of every answer."""

    status: Literal["success", "error"]
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] | None = None
    is_partial: bool = False
    """VictoriaMetrics has it in place of warnings."""

    @property
    def reason(self) -> str:
        return ": ".join(filter(None, (self.error_type, self.error))) or "no result"


_VECTOR = msgspec.json.Decoder(_Body[_Vector])
_MATRIX = msgspec.json.Decoder(_Body[_Matrix])


def _decode(
    decoder: msgspec.json.Decoder[_Body[_Data]],
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[_Data, bool]:
    """Return the data in a response of `url`, and whether the server warns that something may be missing.

    Raises FleetError if there are none, or an error.
    """
    if status in _REDIRECTS:
        raise FleetError(
            f"{url}: HTTP {status}: redirects are not followed; name the address it leads to in "
            f"fleet.prometheus: {_one_line(headers.get('Location', '').partition('?')[0])}"
        )
    try:
        answer = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if status != _OK:
            raise FleetError(f"{url}: HTTP {status}") from None
        raise FleetError(f"{url}: not an answer of Prometheus: {_one_line(str(error))}") from None
    if status != _OK or answer.status != "success" or answer.data is None:
        raise FleetError(f"{url}: HTTP {status}: {_one_line(answer.reason)}")
    return answer.data, bool(answer.warnings) or answer.is_partial


def _parse_date(text: str) -> float:
    """Return the Unix time of a ``Date`` header; 0 if there is none that can be read."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _read_token(path: str) -> str:
    """Return the bearer token in a file; raises ConfigError, which does not quote it."""
    token = read_secret("fleet.bearer_token_file", path)
    if not token.isascii() or " " in token:
        raise ConfigError(f"fleet.bearer_token_file: {path}: expected a token, which is ASCII without spaces")
    return token


def _describe(error: Exception) -> str:
    """Return why there was no answer: urllib3's errors wrap that of the socket."""
    root: BaseException = error
    while inner := root.__cause__ or root.__context__:
        root = inner
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {root.verify_message}"
    if isinstance(root, OSError) and root.strerror:
        return f"no connection: {_one_line(root.strerror)}"
    return _one_line(str(root)) or type(root).__name__


def _one_line(text: str) -> str:
    """Return a text of the server's on one line of sensible length."""
    return printable(" ".join(text.split()))[:300]

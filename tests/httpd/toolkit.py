"""A server behind a web configuration file, and a client of it."""

import base64
import contextlib
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt

from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.middleware import WebConfigMiddleware
from fping_exporter.httpd.server import HttpServer
from fping_exporter.httpd.web_config import WebConfig

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

HASH = bcrypt.hashpw(b"dave123", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"carol123", bcrypt.gensalt(5, prefix=b"2a")).decode()
CERTIFICATE = "cert_file: server.pem, key_file: server.key"
VERIFY = "client_auth_type: RequireAndVerifyClientCert"
IF_GIVEN = "client_auth_type: VerifyClientCertIfGiven"
SOME_CIPHERS = "[TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"
ALL_CIPHERS = """[
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
    TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
    TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA,
    TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_256_GCM_SHA384]"""
HEADERS = """
http_server_config:
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1
    Strict-Transport-Security: max-age=31536000; includeSubDomains
"""
"""The toolkit's own example: a number where text is wanted, which Go's yaml reads as text."""
USERS = f'basic_auth_users: {{dave: "{HASH}", carol: "{OTHER_HASH}"}}\n'


def hello(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Frame-Options", "sameorigin")])
    return [b"Hello World!"]


@contextlib.contextmanager
def serving(path: Path) -> Iterator[TcpAddress]:
    web = WebConfig(path)
    app = WebConfigMiddleware(hello, settings=web.settings, is_public=lambda path: path == "/-/healthy")
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)], tls=web.tls)
    server.start()
    [address] = server.addresses
    assert isinstance(address, TcpAddress)
    yield address
    assert server.stop(5)


def get(
    address: TcpAddress,
    trust: ssl.SSLContext | None = None,
    *,
    path: str = "/",
    user: str | None = None,
) -> tuple[int, dict[str, str], Any]:
    """Ask once; `user` is of the form name:password. Returns status, headers and TLS's cipher."""
    connection = HTTPSConnection(*address, context=trust, timeout=5) if trust else HTTPConnection(*address)
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        cipher = connection.sock.cipher() if isinstance(connection, HTTPSConnection) else None
        response = connection.getresponse()
        response.read()
        return response.status, dict(response.getheaders()), cipher

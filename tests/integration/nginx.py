"""A real nginx with one server on loopback."""

from pathlib import Path

from tests.integration.process import Process

__all__ = ["nginx"]

_CONFIG = """
daemon off; master_process off; pid {home}/pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""


def nginx(server: str, *, home: Path, port: int) -> Process:
    """Return an nginx to start, which answers on `port` as the directives `server` say."""
    config = home / "nginx.conf"
    config.write_text(_CONFIG.format(home=home, port=port, server=server))
    return Process(["/usr/sbin/nginx", "-e", "stderr", "-c", config], log=home / "nginx.log")

"""python-novaclient 7.1.2, the last with ``client.fping``, unmodified, in an environment of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

__all__ = ["Answer", "Novaclient"]

REQUIREMENTS = Path(__file__).with_name("novaclient-requirements.txt")

_PROGRAM = """
import json, sys
from keystoneauth1 import session, token_endpoint
from keystoneauth1.identity import v3
from novaclient import client, exceptions

for line in sys.stdin:
    asked = json.loads(line)
    if asked["token"]:
        auth = token_endpoint.Token(asked["endpoint"], asked["token"])
    else:
        auth = v3.Password(**asked["auth"])
    nova = client.Client(
        asked["version"],
        session=session.Session(auth=auth, verify=asked["verify"]),
        endpoint_override=asked["endpoint"],
    )
    try:
        found = getattr(nova.fping, asked["method"])(*asked["args"], **asked["kwargs"])
    except exceptions.ClientException as error:
        answer = {"error": type(error).__name__, "code": error.code, "message": error.message}
    else:
        answer = {"found": [one.to_dict() for one in (found if isinstance(found, list) else [found])]}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What a call returned or raised."""

    found: list[dict[str, Any]] | None = None
    """The attributes of each ``Fping`` object."""
    error: str | None = None
    """The name of the exception's class in ``novaclient.exceptions``."""
    code: int | None = None
    message: str | None = None


class Novaclient:
    """Calls of ``client.fping``, as users of clouds.yaml, in one process; a client is made for each call."""

    def __init__(self, home: Path, *, clouds: Path) -> None:
        """Install the client below `home`, where that has not been done yet."""
        self._home = home
        self._python = home / "venv" / "bin" / "python"
        self._clouds = yaml.safe_load(clouds.read_text(encoding="utf-8"))["clouds"]
        installed = home / REQUIREMENTS.name
        wanted = REQUIREMENTS.read_text(encoding="utf-8")
        if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
            return
        subprocess.run([sys.executable, "-m", "venv", "--clear", home / "venv"], check=True)
        pip = [str(self._python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, "--no-deps", "-r", str(REQUIREMENTS)], check=True)
        installed.write_text(wanted, encoding="utf-8")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._python, "-W", "ignore", "-c", _PROGRAM],
            env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin
            process.stdin.close()

    def fping(
        self,
        method: str,
        *args: object,
        cloud: str = "admin",
        version: str = "2.1",
        endpoint: str | None = None,
        token: str | None = None,
        ca_file: Path | None = None,
        **kwargs: object,
    ) -> Answer:
        """Call ``client.fping.<method>`` at an API version.

        `endpoint` (None: that of the service type ``compute`` in the catalog) is the URL that
        ``/os-fping`` is put behind; a `token` is sent as it is, in place of the user's own. Certificates
        of `ca_file` are trusted (None: those of the usual CAs).
        """
        asked = {
            "auth": self._clouds[cloud]["auth"],
            "version": version,
            "endpoint": endpoint,
            "token": token,
            "verify": str(ca_file) if ca_file else True,
            "method": method,
            "args": args,
            "kwargs": kwargs,
        }
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Answer(**json.loads(self._process.stdout.readline()))

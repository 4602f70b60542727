"""Waiting for servers through os-fping: how often it is asked, and what ends it."""

from collections.abc import Mapping, Sequence

import pytest

from fping_exporter.openstackclient.client import OsFpingError
from fping_exporter.openstackclient.polling import Ended, poll


class Fake:
    """os-fping that says the next thing at each request; the last one is repeated."""

    def __init__(self, *says: Mapping[str, bool] | OsFpingError, why: OsFpingError | None = None) -> None:
        self.says = list(says)
        self.why = why
        self.now = 0.0
        self.show_seconds = 0.0
        self.asked: list[tuple[float, Sequence[str]]] = []
        self.shown: list[str] = []

    def list_servers(self, *, all_projects: bool, include: Sequence[str]) -> Mapping[str, bool]:  # noqa: ARG002, it is passed on
        self.asked.append((self.now, tuple(include)))
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, OsFpingError):
            raise said
        return said

    def show_server(self, server_id: str) -> bool:
        self.shown.append(server_id)
        self.now += self.show_seconds
        if self.why:
            raise self.why
        return True

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def poll(self, *ids: str, down: bool = False, timeout: float = 300) -> list[Ended]:
        return list(
            poll(
                self,
                ids,
                all_projects=False,
                down=down,
                timeout=timeout,
                clock=lambda: self.now,
                sleep=self.sleep,
            )
        )


def test_each_as_it_comes_and_only_the_rest_is_asked_for() -> None:
    fake = Fake({"a": True, "b": False}, {"b": False}, {"b": True})
    assert fake.poll("a", "b") == [Ended("a", True, True, 0), Ended("b", True, True, 30)]  # noqa: FBT003, a tuple
    assert fake.asked == [(0, ("a", "b")), (10, ("b",)), (30, ("b",))]


def test_the_default_limit_is_enough_for_the_default_time() -> None:
    fake = Fake({"a": False})
    assert fake.poll("a") == [Ended("a", False, False, 300)]  # noqa: FBT003
    assert len(fake.asked) == 12
    assert fake.asked[-1][0] == 300


def test_down_takes_a_word_not_its_lack() -> None:
    why = OsFpingError("no vantage", status=503)
    fake = Fake({"a": True}, {"a": False}, why=why)
    assert fake.poll("a", "b", down=True, timeout=15) == [
        Ended("a", True, False, 10),  # noqa: FBT003
        Ended("b", False, None, 15, "no vantage"),  # noqa: FBT003
    ]
    assert fake.shown == ["b"]


def test_a_limit_is_kept_to() -> None:
    busy = OsFpingError("too often", status=429, retry_after=100)
    fake = Fake(busy, {"a": True})
    assert fake.poll("a") == [Ended("a", True, True, 100)]  # noqa: FBT003
    fake = Fake(busy)
    assert fake.poll("a", timeout=90) == [Ended("a", False, None, 0, "too often")]  # noqa: FBT003
    assert fake.shown == []


@pytest.mark.parametrize("status", [None, 502, 503])
def test_what_may_pass(status: int | None) -> None:
    fake = Fake(OsFpingError("away", status=status), {"a": True})
    assert fake.poll("a") == [Ended("a", True, True, 10)]  # noqa: FBT003


@pytest.mark.parametrize("status", [401, 403, 404, 200])
def test_what_does_not_pass(status: int) -> None:
    with pytest.raises(OsFpingError, match=r"^no$"):
        Fake(OsFpingError("no", status=status)).poll("a")


def test_the_reasons_asked_for_are_few() -> None:
    fake = Fake({}, why=OsFpingError("too often", status=429))
    ended = fake.poll(*map(str, range(40)), timeout=1)
    assert len(fake.shown) == 10
    assert {(each.alive, each.why) for each in ended} == {(None, "")}


def test_asking_for_the_reasons_ends() -> None:
    fake = Fake({}, why=OsFpingError("slow"))
    fake.show_seconds = 20
    ended = fake.poll(*map(str, range(5)), timeout=1)
    assert fake.shown == ["0", "1"]
    assert [each.why for each in ended] == ["slow", "slow", "", "", ""]

"""Listening addresses: what is understood, and what is refused."""

import pytest

from quantummq.config import parse_address


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1:1883", "tcp://127.0.0.1:1883"),
        ("127.0.0.1", "tcp://127.0.0.1:1883"),
        ("localhost:0", "tcp://127.0.0.1:0"),
        ("[::1]:1883", "tcp://[::1]:1883"),
        ("tls://[::1]", "tls://[::1]:8883"),
        ("ws://0.0.0.0:8080", "ws://0.0.0.0:8080"),
        ("wss://0.0.0.0/", "wss://0.0.0.0:443"),
        ("unix:/run/q.sock", "unix:/run/q.sock"),
        ("unix:///run/q.sock", "unix:/run/q.sock"),
        ("unix:q.sock", "unix:q.sock"),
    ],
)
def test_an_address_is_read(text: str, read: str) -> None:
    assert str(parse_address(text)) == read
    assert str(parse_address(read)) == read


@pytest.mark.parametrize("text", ["*:1883", ":1883", "tcp://*:1883"])
def test_an_empty_host_is_every_interface(text: str) -> None:
    assert parse_address(text).host in ("::", "0.0.0.0")
    assert not parse_address(text).is_local


@pytest.mark.parametrize(
    "text",
    [
        "::1:1883",
        "http://127.0.0.1:80",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:",
        "127.0.0.1:\u0661",
        "[::1",
        "[::1]1883",
        "256.0.0.1:1",
        "example.org:1883",
        "unix:",
        "unix:/" + "x" * 200,
        "tcp://127.0.0.1:1883/path",
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".{10}"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.5:1", False),
        ("[fe80::1%eth0]:1", False),
    ],
)
def test_only_loopback_and_unix_addresses_are_local(text: str, local: bool) -> None:
    assert parse_address(text).is_local is local

"""What `check` finds beyond single values: files, and listeners open to strangers."""

from pathlib import Path

import pytest

from quantummq.config import Config
from quantummq.config.check import check_config
from tests.certificates import write_certificates


def faults(tmp_path: Path, raw: dict[str, object]) -> dict[str, str]:
    """What is wrong with `raw`, by dotted key; the data folder is a good one."""
    config = Config.model_validate({"broker": {"data_dir": str(tmp_path)}, **raw})
    return {error.where: error.why for error in check_config(config)}


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "unix:/tmp/q.sock"])
def test_this_machine_alone_needs_no_authentication(tmp_path: Path, address: str) -> None:
    raw: dict[str, object] = {"listener": [{"address": address}]}

    config = Config.model_validate(raw)
    assert faults(tmp_path, raw) == {}
    assert config.allows_anonymous(config.listeners[0])
    assert not config.needs_verdict(config.listeners[0])


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1883", "ws://*:0"])
def test_an_open_listener_without_authentication_is_refused(tmp_path: Path, address: str) -> None:
    found = faults(tmp_path, {"listener": [{"address": address}]})

    assert "anonymous = true" in found["listener[0].address"]
    assert "--lan" in found["listener[0].address"]


def test_an_open_listener_is_accepted_when_anonymous_is_said(tmp_path: Path) -> None:
    raw: dict[str, object] = {
        "broker": {"data_dir": str(tmp_path), "anonymous": True},
        "listener": [{"address": "0.0.0.0:0"}],
    }

    assert faults(tmp_path, raw) == {}
    config = Config.model_validate(raw)
    assert not config.needs_verdict(config.listeners[0])


def test_a_listener_may_say_anonymous_for_itself(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "listener": [
                {"address": "0.0.0.0:0", "name": "a", "anonymous": True},
                {"address": "0.0.0.0:0", "name": "b"},
            ]
        },
    )

    assert set(found) == {"listener[1].address"}


def test_authentication_closes_loopback_listeners_too(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch()
    raw: dict[str, object] = {
        "authentication": {"password_file": str(users)},
        "listener": [{"address": "0.0.0.0:0", "name": "a"}, {"address": "127.0.0.1:0"}],
    }

    config = Config.model_validate(raw)
    assert faults(tmp_path, raw) == {}
    assert not any(config.allows_anonymous(each) for each in config.listeners)
    assert all(config.needs_verdict(each) for each in config.listeners)


def test_a_broker_that_lets_nobody_in_is_refused(tmp_path: Path) -> None:
    found = faults(tmp_path, {"broker": {"data_dir": str(tmp_path), "anonymous": False}})

    assert "password_file" in found["broker.anonymous"]


def test_a_listener_that_needs_client_certificates_may_be_open(tmp_path: Path) -> None:
    pem = write_certificates(tmp_path)
    tls = {"certificate": pem.server, "key": pem.server_key, "client_ca": pem.ca}

    def raw(client_certificate: str) -> dict[str, object]:
        table = {**tls, "client_certificate": client_certificate}
        return {"listener": [{"address": "tls://0.0.0.0:0", "tls": table}]}

    assert faults(tmp_path, raw("require")) == {}
    assert set(faults(tmp_path, raw("optional"))) == {"listener[0].address"}


def test_a_tls_listener_needs_certificates(tmp_path: Path) -> None:
    found = faults(tmp_path, {"listener": [{"address": "tls://127.0.0.1:0"}]})

    assert "certificate" in found["listener[0].tls"]


def test_the_common_tls_table_serves_listeners_without_their_own(tmp_path: Path) -> None:
    pem = write_certificates(tmp_path)
    raw: dict[str, object] = {
        "tls": {"certificate": pem.server, "key": pem.server_key},
        "listener": [{"address": "wss://127.0.0.1:0"}, {"address": "127.0.0.1:0"}],
    }

    config = Config.model_validate(raw)
    assert faults(tmp_path, raw) == {}
    assert [config.tls_of(each) for each in config.listeners] == [config.tls, None]


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    pem = write_certificates(tmp_path)
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")

    def found(**table: object) -> dict[str, str]:
        tls = {"certificate": pem.server, "key": pem.server_key, **table}
        return faults(tmp_path, {"listener": [{"address": "tls://127.0.0.1:0", "tls": tls}]})

    assert found() == {}
    assert set(found(key=tmp_path / "absent")) == {"listener[0].tls.key"}
    assert set(found(key=pem.client_key)) == {"listener[0].tls.key"}
    assert set(found(certificate=junk)) == {"listener[0].tls.key"}
    assert set(found(client_ca=junk)) == {"listener[0].tls.client_ca"}
    assert set(found(client_certificate="require")) == {"listener[0].tls.client_ca"}
    assert set(found(certificate=tmp_path)) == {"listener[0].tls.certificate"}


def test_every_fault_is_found_in_one_look(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "broker": {"data_dir": "/dev/null/x"},
            "authentication": {"password_file": "/absent", "scram_file": "/absent"},
            "mqtt": {"redirect": "permanent"},
            "listener": [
                {"address": "unix:/absent/folder/q.sock"},
                {"address": "ws://127.0.0.1:1", "ws": {"enabled": False}},
                {"address": "127.0.0.1:1", "tls": {"certificate": "a", "key": "b"}},
            ],
        },
    )

    assert set(found) == {
        "broker.data_dir",
        "authentication.password_file",
        "authentication.scram_file",
        "mqtt.server_reference",
        "listener[0].address",
        "listener[1].ws.enabled",
        "listener[2].tls",
        "listener[2].address",
    }

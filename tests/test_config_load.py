"""Reading the configuration: sources, their order, and what mistakes are told."""

import os
from pathlib import Path

import pytest

from quantummq.config import Config, Listener
from quantummq.config.load import Overrides, find_config, load_config
from quantummq.errors import ConfigError


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    """The configuration of a file with `text`, in an environment of its own."""
    file = tmp_path / "quantummq.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ=environ)


def faults(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    """Every error that reading `text` gives, by its dotted key."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    return {error.where: error.why for error in caught.value.all}


def test_the_defaults_are_those_the_documentation_promises() -> None:
    config = load_config(environ={})

    assert [str(each.address) for each in config.listeners] == ["tcp://127.0.0.1:1883"]
    assert config.listeners[0].receive_maximum == 65_535
    assert config.limits.session_queue_messages == 100_000
    assert config.limits.session_queue_bytes == 64 * 1024 * 1024
    assert config.limits.queued_messages == 1_000_000
    assert config.limits.connections == 10_000
    assert config.listeners[0].backlog >= 1_024
    assert config.listeners[0].ws.allowed_origins == ()
    assert config.listeners[0].proxy is None


def test_a_file_fills_every_kind_of_table(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        broker = { shards = 2, data_dir = "/tmp/q", shutdown_deadline_s = 3 }
        log.level = "debug"
        mqtt.server_reference = "other:1883"

        [[listener]]
        name = "plain"
        address = "0.0.0.0:1884"
        mount_point = "site1/"
        proxy.trusted = ["10.0.0.0/8", "::1"]
        ws = { path = "/mqtt", allowed_origins = ["https://Example.org"] }

        [[listener]]
        address = "unix:/tmp/q.sock"
        unix_mode = "600"
        """,
    )

    plain, unix = config.listeners
    assert (plain.name, plain.mount_point, str(plain.address)) == (
        "plain",
        "site1/",
        "tcp://0.0.0.0:1884",
    )
    assert plain.proxy is not None
    assert plain.proxy.trusted == ("10.0.0.0/8", "::1/128")
    assert plain.ws.allowed_origins == ("https://example.org",)
    assert (unix.name, unix.unix_mode) == ("unix:/tmp/q.sock", 0o600)
    assert config.broker.shard_count == 2


def test_an_unknown_key_names_its_nearest_neighbour(tmp_path: Path) -> None:
    found = faults(tmp_path, '[[listener]]\nadress = "127.0.0.1:1"\n')

    assert 'did you mean "address"' in found["listener[0].adress"]


def test_a_key_of_another_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    found = faults(tmp_path, "session_queue_messages = 5\n")

    assert '"limits.session_queue_messages"' in found["session_queue_messages"]


def test_an_unknown_key_without_neighbours_lists_what_is_known(tmp_path: Path) -> None:
    found = faults(tmp_path, "[log]\nxyzzy = 5\n")

    assert "known are format, level" in found["log.xyzzy"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        [limits]
        sessions = 0
        conections = 5
        [[listener]]
        address = "tcp://broker.example:1883"
        maximum_qos = 3
        [[listener]]
        tls.certificate = "x"
        """,
        QUANTUMMQ_LOG__LEVEL="loud",
    )

    assert set(found) == {
        "limits.sessions",
        "limits.conections",
        "listener[0].address",
        "listener[0].maximum_qos",
        "listener[1].tls.key",
        "log.level",
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("listener = 5", "listener"),
        ("listener = []", "listener"),
        ("broker = []", "broker"),
        ("[broker]\nshards = true and", "quantummq.toml"),
        ("[broker]\nshutdown_deadline_s = nan", "broker.shutdown_deadline_s"),
        ("[broker]\nshutdown_deadline_s = inf", "broker.shutdown_deadline_s"),
        ("[limits]\nsessions = 99999999999", "limits.sessions"),
        ('[[listener]]\nmount_point = "a/#"', "listener[0].mount_point"),
        ('[[listener]]\nmount_point = "a\\u0000"', "listener[0].mount_point"),
        ('[[listener]]\nmount_point = "$SYS/"', "listener[0].mount_point"),
        ('[[listener]]\nmount_point = "site1"', "listener[0].mount_point"),
        ("[[listener]]\nproxy = {}", "listener[0].proxy.trusted"),
        ("[[listener]]\nproxy.trusted = []", "listener[0].proxy.trusted"),
        ('[[listener]]\nproxy.trusted = ["10.0.0.1/8"]', "listener[0].proxy.trusted[0]"),
        ('[[listener]]\nws.allowed_origins = ["example"]', "listener[0].ws.allowed_origins[0]"),
        ("[[listener]]\nbacklog = 10", "listener[0].backlog"),
        ("[[listener]]\nunix_mode = 660", "listener[0].unix_mode"),
        ('[[listener]]\nunix_mode = "999"', "listener[0].unix_mode"),
        ('[[listener]]\nname = "a"\n[[listener]]\nname = "a"', "configuration"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(tmp_path: Path, text: str, where: str) -> None:
    found = faults(tmp_path, text)

    assert any(key.endswith(where) for key in found), found


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("[log]\nlevel = 5", "log.level", "should be 'debug', 'info', 'warning' or 'error'"),
        ("broker = 5", "broker", "should be a table; it is 5"),
        ("[broker]\nanonymous = []", "broker.anonymous", "should be true or false"),
        ("[broker]\ndata_dir = 5", "broker.data_dir", "should be a path in quotation marks"),
        ("[broker]\nshutdown_deadline_s = {}", "broker.shutdown_deadline_s", "should be a number"),
        ("[limits]\nsessions = 1.5", "limits.sessions", "should be a whole number; it is 1.5"),
        ("[listener]\nname = 'a'", "listener", "each with a [[listener]] of its own"),
        ("[[listener]]\nname = 5", "listener[0].name", "should be text in quotation marks"),
        ("[[listener]]\nproxy.trusted = 5", "listener[0].proxy.trusted", '["one", "two"]'),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_the_words_of_toml(
    tmp_path: Path, text: str, where: str, why: str
) -> None:
    """Whoever writes the file does not know Python's tuples and paths."""
    assert why in faults(tmp_path, text)[where]


def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "absent.toml", environ={})


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(file, environ={})


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[limits]\nsessions = 5\n[[listener]]\naddress = "127.0.0.1:1"\nname = "kept"\n',
        QUANTUMMQ_LIMITS__SESSIONS="7",
        QUANTUMMQ_LISTENER__0__ADDRESS="127.0.0.1:2",
        QUANTUMMQ_LISTENER__1__ADDRESS="127.0.0.1:3",
        QUANTUMMQ_LISTENER__1__WS__ALLOWED_ORIGINS='["*"]',
        QUANTUMMQ_MQTT__SERVER_REFERENCE="1e5",
        QUANTUMMQ_CONFIG="not a key",
        OTHER__SESSIONS="1",
    )

    assert config.limits.sessions == 7
    assert [(each.name, each.address.port) for each in config.listeners] == [
        ("kept", 2),
        ("tcp://127.0.0.1:3", 3),
    ]
    assert config.listeners[1].ws.allowed_origins == ("*",)
    assert config.mqtt.server_reference == "1e5"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUANTUMMQ_LIMITS__SESIONS", "7"),
        ("QUANTUMMQ_LIMITS__SESSIONS__MORE", "7"),
        ("QUANTUMMQ_LISTENER__5__NAME", "x"),
        ("QUANTUMMQ_LISTENER__0__WS__ALLOWED_ORIGINS", "[broken"),
    ],
)
def test_a_variable_that_fits_no_key_is_an_error(tmp_path: Path, name: str, value: str) -> None:
    text = '[limits]\nsessions = 1\n[[listener]]\nname = "a"\n'

    assert faults(tmp_path, text, **{name: value})


def test_listen_replaces_the_configured_listeners(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_text('[[listener]]\naddress = "127.0.0.1:1"\n[[listener]]\nname = "b"\n')
    overrides = Overrides(listen=("127.0.0.1:0", "127.0.0.1:0", "unix:/tmp/s"), data_dir=tmp_path)

    config = load_config(file, environ={}, overrides=overrides)

    assert [str(each.address) for each in config.listeners] == [
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:0",
        "unix:/tmp/s",
    ]
    assert len({each.name for each in config.listeners}) == 3
    assert config.broker.data_path == tmp_path


def test_a_listen_address_that_cannot_be_used_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"listener\[0\]\.address"):
        load_config(environ={}, overrides=Overrides(listen=("nowhere",)))


def test_the_file_is_looked_for_where_systemd_and_xdg_say(tmp_path: Path) -> None:
    service = tmp_path / "service" / "quantummq.toml"
    service.parent.mkdir()
    service.touch()
    own = tmp_path / "xdg" / "quantummq" / "quantummq.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}

    assert find_config({"QUANTUMMQ_CONFIG": "/named", **environ}) == Path("/named")
    assert find_config({"CONFIGURATION_DIRECTORY": str(service.parent), **environ}) == service
    assert find_config(environ) == own


def test_the_data_folder_follows_systemd_then_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere/me")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert Config().broker.data_path == Path("/nowhere/me/.local/share/quantummq")

    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Config().broker.data_path == Path("/data/quantummq")

    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/quantummq:/var/lib/other")
    assert Config().broker.data_path == Path("/var/lib/quantummq")


def test_shards_default_to_the_cores_of_the_affinity_mask() -> None:
    allowed = os.sched_getaffinity(0)
    assert Config().broker.shard_count == len(allowed)

    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert Config().broker.shard_count == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_configuration_cannot_be_changed() -> None:
    config = Config(listeners=(Listener(),))

    with pytest.raises(ValueError, match="frozen"):
        config.limits.sessions = 5  # pyright: ignore[reportAttributeAccessIssue]

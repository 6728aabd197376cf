"""`quantummq pub` and `sub` against mosquitto's programs, in both directions, flag by flag."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import Certificates, write_certificates
from tests.product import Started, started

PROGRAM = str(Path(sys.executable).with_name("quantummq"))
PUB, SUB = [PROGRAM, "pub"], [PROGRAM, "sub"]
MOSQUITTO_PUB, MOSQUITTO_SUB = ["mosquitto_pub"], ["mosquitto_sub"]
VERSIONS = ["mqttv5", "mqttv311", "mqttv31"]

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed"
)
# Whichever of the two is asked: what one says the other says too.
subscribers = pytest.mark.parametrize(
    "subscriber", [pytest.param(MOSQUITTO_SUB, marks=needs_mosquitto, id="mosquitto_sub"),
                   pytest.param(SUB, id="sub")]
)  # fmt: skip
publishers = pytest.mark.parametrize(
    "publisher", [pytest.param(MOSQUITTO_PUB, marks=needs_mosquitto, id="mosquitto_pub"),
                  pytest.param(PUB, id="pub")]
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this module is."""
    return tmp_path_factory.mktemp("pub-sub")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Certificates:
    """An authority that the clients trust, and the broker's certificate."""
    return write_certificates(folder)


@pytest.fixture(scope="module")
def broker(certificates: Certificates, folder: Path) -> Iterator[Started]:
    """A broker on TCP, a Unix socket and TLS, and one listener where a password is needed."""
    users = folder / "users"
    command = [PROGRAM, "passwd", str(users), "alice"]
    subprocess.run(command, input="wonderland\n", text=True, check=True, capture_output=True)
    file = folder / "quantummq.toml"
    file.write_text(
        f"""
        authentication = {{ password_file = "{users}" }}
        tls = {{ certificate = "{certificates.server}", key = "{certificates.server_key}" }}
        listener = [
          {{ address = "tcp://127.0.0.1:0", anonymous = true }},
          {{ address = "tls://127.0.0.1:0", anonymous = true }},
          {{ address = "unix:{folder}/q.sock", anonymous = true }},
          {{ address = "tcp://127.0.0.1:0", name = "closed" }},
        ]
        """,
        encoding="utf-8",
    )
    with started([PROGRAM, "run", "--config", str(file)], environment(folder)) as running:
        yield running


def environment(folder: Path) -> dict[str, str]:
    """A home of the test's own: mosquitto's programs read settings from there too."""
    return {"HOME": str(folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def place(broker: Started, listener: int = 0) -> list[str]:
    """Options that lead to a listener."""
    return ["-h", "127.0.0.1", "-p", str(urlsplit(broker.addresses[listener]).port)]


def call(broker: Started, command: list[str], *options: str, stdin: str = "", code: int = 0) -> str:
    """What a program prints, after checking its exit code."""
    done = subprocess.run(
        [*command[:1], *command[1:], *options],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(Path("/nowhere")),
    )
    assert done.returncode == code, (command, options, done.stdout, done.stderr)
    return done.stdout + (done.stderr if code else "")


def one(broker: Started, subscriber: list[str], topic: str, form: str, *options: str) -> str:
    """The retained message of a topic, as a subscriber prints it."""
    wanted = ["-t", topic, "-C", "1", "-W", "10", "-N", "-F", form, *options]
    return call(broker, subscriber, *place(broker), *wanted)


# --- publishing --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize(
    ("publisher", "subscriber"),
    [
        pytest.param(PUB, SUB, id="pub-sub"),
        pytest.param(MOSQUITTO_PUB, SUB, id="mosquitto_pub-sub", marks=needs_mosquitto),
        pytest.param(PUB, MOSQUITTO_SUB, id="pub-mosquitto_sub", marks=needs_mosquitto),
    ],
)
def test_a_message_goes_through_whichever_program_sends_and_prints_it(
    broker: Started, subscriber: list[str], publisher: list[str], qos: str, version: str
) -> None:
    topic = f"through/{version}/{qos}"
    options = [*place(broker), "-V", version, "-t", topic, "-q", qos]
    call(broker, publisher, *options, "-r", "-m", "grüße 21.5")

    printed = one(broker, subscriber, topic, "%t %p %q %r %l", "-V", version, "-q", qos)

    assert printed == f"{topic} grüße 21.5 {qos} 1 12"


@publishers
def test_a_file_is_sent_byte_by_byte(broker: Started, publisher: list[str], folder: Path) -> None:
    file = folder / "bytes"
    file.write_bytes(bytes(range(256)))
    call(broker, publisher, *place(broker), "-t", "file", "-r", "-q", "1", "-f", str(file))

    assert one(broker, SUB, "file", "%x") == bytes(range(256)).hex()


@publishers
def test_all_of_standard_input_is_one_message(broker: Started, publisher: list[str]) -> None:
    options = [*place(broker), "-t", "whole", "-r", "-q", "1", "-s"]

    call(broker, publisher, *options, stdin="line 1\nline 2\n")

    assert one(broker, SUB, "whole", "%p") == "line 1\nline 2\n"


@publishers
def test_an_empty_message_removes_what_was_retained(broker: Started, publisher: list[str]) -> None:
    options = [*place(broker), "-t", "removed", "-r", "-q", "1"]
    call(broker, publisher, *options, "-m", "x")

    call(broker, publisher, *options, "-n")

    wanted = ["-t", "removed", "-W", "1", "-v"]
    assert call(broker, SUB, *place(broker), *wanted, code=27) == ""


@publishers
@subscribers
def test_each_line_of_standard_input_is_a_message(
    broker: Started, subscriber: list[str], publisher: list[str]
) -> None:
    """A session that waits gets them in order. The last line may lack its end."""
    name = f"lines-{publisher[-1]}-{subscriber[-1]}".replace("/", "-")
    session = [*place(broker), "-V", "mqttv5", "-i", name, "-c", "-q", "1", "-t", name]
    call(broker, subscriber, *session, "-E")

    lines = "".join(f"{number}\n" for number in range(500)) + "\nlast"
    options = [*place(broker), "-t", name, "-q", "1", "-l"]
    call(broker, publisher, *options, stdin=lines)

    printed = call(broker, subscriber, *session, "-C", "502", "-W", "20", "-F", "%p")
    assert printed == lines + "\n"


@publishers
def test_a_message_may_be_repeated(broker: Started, publisher: list[str]) -> None:
    name = f"repeat-{publisher[-1]}"
    session = [*place(broker), "-i", name, "-c", "-q", "1", "-t", "repeat"]
    call(broker, SUB, *session, "-E")

    options = [*place(broker), "-t", "repeat", "-q", "1", "-m", "x"]
    call(broker, publisher, *options, "--repeat", "3", "--repeat-delay", "0.01")

    assert call(broker, SUB, *session, "-W", "1", code=27) == "x\nx\nx\n"


@publishers
def test_properties_are_sent_in_order(broker: Started, publisher: list[str]) -> None:
    given = [
        ("content-type", "text/plain"),
        ("correlation-data", "request 7"),
        ("message-expiry-interval", "600"),
        ("payload-format-indicator", "1"),
        ("response-topic", "re/ply"),
        ("user-property", "b", "1"),
        ("user-property", "a", "2"),
        ("user-property", "b", "3"),
    ]
    options = [*place(broker), "-V", "mqttv5", "-t", "properties", "-r", "-q", "1", "-m", "x"]
    words = [word for each in given for word in ("-D", "publish", *each)]

    call(broker, publisher, *options, *words)

    printed = one(broker, SUB, "properties", "%C|%D|%E|%F|%R|%P")
    assert printed == "text/plain|request 7|600|1|re/ply|b:1 a:2 b:3"


@publishers
def test_a_will_is_left_by_a_program_that_is_killed(broker: Started, publisher: list[str]) -> None:
    topic = f"will-{Path(publisher[0]).name}"
    session = [*place(broker), "-i", topic, "-c", "-q", "1", "-t", f"{topic}/line"]
    call(broker, SUB, *session, "-E")
    will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1", "--will-retain"]
    options = [*place(broker), "-t", f"{topic}/line", "-q", "1", "-l", *will]
    killed = subprocess.Popen([*publisher, *options], stdin=subprocess.PIPE)
    assert killed.stdin is not None
    with killed.stdin:
        killed.stdin.write(b"connected\n")
        killed.stdin.flush()
        assert call(broker, SUB, *session, "-C", "1", "-W", "20") == "connected\n"
        killed.kill()
        killed.wait()

    # It may be there already, or come while we wait.
    printed = one(broker, SUB, topic, "%p %q %r", "-q", "1", "--retain-as-published")
    assert printed == "gone 1 1"


# --- subscribing -------------------------------------------------------------------------------

RICH = [
    *["-V", "mqttv5", "-t", "rich", "-r", "-q", "1", "-m", 'he"llo'],
    *["-D", "publish", "content-type", "text/plain"],
    *["-D", "publish", "user-property", "key", "value"],
]


FORMATS = ["%t", "%p", "%x", "%X", "%l", "%q", "%r", "%m", "%C", "%D", "%E", "%F", "%P", "%R"]
MORE_FORMATS = ["%S", "%A", "%%", "%I", "%t\\t%p\\n", "%10t|%-10t|%05l", "%.3t|%10.3t", "%q \\\\ c"]


@needs_mosquitto
@pytest.mark.parametrize("form", [*FORMATS, *MORE_FORMATS])
def test_formats_print_what_those_of_mosquitto_sub_do(broker: Started, form: str) -> None:
    call(broker, PUB, *place(broker), *RICH)
    options = ["-V", "mqttv5", "-q", "1", "-D", "subscribe", "subscription-identifier", "7"]

    ours = one(broker, SUB, "rich", form, *options)
    theirs = one(broker, MOSQUITTO_SUB, "rich", form, *options)

    # A second may pass between the two.
    if form == "%I":
        ours, theirs = (re.sub(r":\d\d\+", ":00+", each) for each in (ours, theirs))
        assert ours[:16] == theirs[:16]
        return
    assert ours == theirs


@subscribers
@pytest.mark.parametrize("options", [[], ["-v"], ["-N"], ["-v", "-N"]])
def test_topic_and_line_feed_are_printed_as_asked(
    broker: Started, subscriber: list[str], options: list[str]
) -> None:
    call(broker, PUB, *place(broker), "-t", "plain", "-r", "-m", "x", "-q", "1")

    printed = call(
        broker, subscriber, *place(broker), "-t", "plain", "-C", "1", "-W", "10", *options
    )

    end = "" if "-N" in options else "\n"
    assert printed == ("plain x" if "-v" in options else "x") + end


@subscribers
@pytest.mark.parametrize(("options", "printed"), [([], ""), (["-v"], "empty (null)\n")])
def test_an_empty_payload_is_shown_with_its_topic_only(
    broker: Started, subscriber: list[str], options: list[str], printed: str
) -> None:
    name = f"empty-{Path(subscriber[0]).name}-{len(options)}"
    session = [*place(broker), "-i", name, "-c", "-q", "1", "-t", "empty"]
    call(broker, subscriber, *session, "-E")
    call(broker, PUB, *place(broker), "-t", "empty", "-n", "-q", "1")

    assert call(broker, subscriber, *session, "-C", "1", "-W", "10", *options) == printed


def test_json_has_all_of_a_message(broker: Started) -> None:
    call(broker, PUB, *place(broker), *RICH)
    wanted = [*place(broker), "-t", "rich", "-C", "1", "-W", "10", "-q", "1"]

    line = call(broker, SUB, *wanted, "--json")
    pretty = call(broker, SUB, *wanted, "--json", "--pretty")

    shown = json.loads(line)
    assert line.count("\n") == 1
    assert pretty.count("\n") > 10
    assert shown | {"tst": ""} == json.loads(pretty) | {"tst": ""}
    assert (shown["topic"], shown["payload"], shown["qos"], shown["retain"]) == (
        *("rich", 'he"llo'),
        *(1, 1),
    )
    assert shown["properties"] == {
        "content-type": "text/plain",
        "user-properties": [{"key": "value"}],
    }


def test_a_payload_that_is_no_text_is_base64_in_json(broker: Started, folder: Path) -> None:
    (folder / "blob").write_bytes(b"\xff\x00")
    options = ["-t", "blob", "-r", "-q", "1", "-f", str(folder / "blob")]
    call(broker, PUB, *place(broker), *options)

    assert json.loads(one(broker, SUB, "blob", "%j"))["payload_base64"] == "/wA="


@subscribers
def test_waiting_ends_with_27(broker: Started, subscriber: list[str]) -> None:
    wanted = [*place(broker), "-t", "nothing", "-W", "1"]

    assert "nothing" not in call(broker, subscriber, *wanted, code=27)


@subscribers
def test_stale_filtered_and_live_messages_are_told_apart(
    broker: Started, subscriber: list[str]
) -> None:
    call(broker, PUB, *place(broker), "-t", "told/old", "-r", "-m", "old", "-q", "1")
    name = f"told-{Path(subscriber[0]).name}"
    session = [*place(broker), "-V", "mqttv5", "-i", name, "-c", "-q", "1", "-t", "told/#"]
    call(broker, subscriber, *session, "-E")
    for topic in ("told/a", "told/b", "told/c"):
        call(broker, PUB, *place(broker), "-t", topic, "-m", topic[-1], "-q", "1")

    printed = call(broker, subscriber, *session, "-R", "-T", "told/b", "-W", "1", code=27)

    assert [line for line in printed.splitlines() if len(line) == 1] == ["a", "c"]


@subscribers
def test_retained_messages_can_be_listed_and_removed(
    broker: Started, subscriber: list[str]
) -> None:
    name = f"list-{Path(subscriber[0]).name}"
    for number in range(3):
        options = ["-t", f"{name}/{number}", "-r", "-m", f"{number}", "-q", "1"]
        call(broker, PUB, *place(broker), *options)
    wanted = [*place(broker), "-t", f"{name}/#", "-W", "1"]

    listed = call(broker, subscriber, *wanted, "--retained-only", code=27)
    removed = call(broker, subscriber, *wanted, "--remove-retained", code=27)

    assert sorted(re.findall(r"^\d$", listed, re.M)) == ["0", "1", "2"]
    assert sorted(re.findall(r"^\d$", removed, re.M)) == ["0", "1", "2"]
    assert not re.search(r"^\d$", call(broker, SUB, *wanted, code=27), re.M)


@subscribers
def test_a_subscription_can_be_taken_back(broker: Started, subscriber: list[str]) -> None:
    name = f"back-{Path(subscriber[0]).name}"
    session = [*place(broker), "-V", "mqttv5", "-i", name, "-c", "-q", "1"]
    call(broker, subscriber, *session, "-t", "back/a", "-t", "back/b", "-E")

    call(broker, subscriber, *session, "-t", "back/b", "-U", "back/a", "-E")
    for topic in ("back/a", "back/b"):
        call(broker, PUB, *place(broker), "-t", topic, "-m", topic[-1], "-q", "1")

    printed = call(broker, subscriber, *session, "-t", "back/b", "-W", "1", code=27)
    assert re.findall(r"^\w$", printed, re.M) == ["b"]


@subscribers
def test_a_session_waits_while_its_program_is_away(broker: Started, subscriber: list[str]) -> None:
    name = f"away-{Path(subscriber[0]).name}"
    session = [*place(broker), "-i", name, "-c", "-q", "2", "-t", "away"]
    call(broker, subscriber, *session, "-E")

    call(broker, PUB, *place(broker), "-t", "away", "-m", "kept", "-q", "2")

    assert call(broker, subscriber, *session, "-C", "1", "-W", "10") == "kept\n"


@subscribers
def test_disconnect_has_properties_too(broker: Started, subscriber: list[str]) -> None:
    """Session Expiry Interval 0 ends the session, MQTT 5 §3.14.2.2.2."""
    name = f"ended-{Path(subscriber[0]).name}"
    session = [*place(broker), "-V", "mqttv5", "-i", name, "-c", "-q", "1", "-t", "ended"]
    call(broker, subscriber, *session, "-E", "-D", "disconnect", "session-expiry-interval", "0")

    call(broker, PUB, *place(broker), "-t", "ended", "-m", "lost", "-q", "1")

    assert "lost" not in call(broker, subscriber, *session, "-W", "1", code=27)


@pytest.mark.parametrize("seconds", ["60", "-1", "∞", "4294967295"])
@subscribers
def test_a_session_may_have_an_end(broker: Started, subscriber: list[str], seconds: str) -> None:
    name = f"end-{Path(subscriber[0]).name}-{seconds}"
    session = [*place(broker), "-V", "mqttv5", "-i", name, "-c", "-q", "1", "-t", "end"]

    call(broker, subscriber, *session, "-x", seconds, "-E")
    call(broker, PUB, *place(broker), "-t", "end", "-m", "kept", "-q", "1")

    assert call(broker, subscriber, *session, "-C", "1", "-W", "10") == "kept\n"


def test_some_of_many_messages_can_be_printed(broker: Started) -> None:
    """Each by chance: of 400 it would take a miracle to see none, or all, of them."""
    session = [*place(broker), "-i", "some", "-c", "-q", "1", "-t", "some"]
    call(broker, SUB, *session, "-E")
    lines = "".join(f"{number}\n" for number in range(400))
    call(broker, PUB, *place(broker), "-t", "some", "-q", "1", "-l", stdin=lines)

    printed = call(broker, SUB, *session, "--random-filter", "50", "-W", "2", code=27)

    assert 0 < printed.count("\n") < 400


# --- how they connect --------------------------------------------------------------------------


@publishers
@subscribers
def test_user_name_and_password_are_given(
    broker: Started, subscriber: list[str], publisher: list[str]
) -> None:
    login = ["-u", "alice", "-P", "wonderland"]
    closed = place(broker, 3)
    call(broker, publisher, *closed, *login, "-t", "login", "-m", "in", "-r", "-q", "1")

    wanted = ["-t", "login", "-C", "1", "-W", "10"]
    assert call(broker, subscriber, *closed, *login, *wanted) == "in\n"


def test_a_refusal_is_told_with_its_reason(broker: Started) -> None:
    closed = place(broker, 3)

    without = call(broker, PUB, *closed, "-t", "t", "-m", "x", code=1)
    wrong = call(broker, SUB, *closed, "-u", "alice", "-P", "x", "-t", "t", code=1)
    quiet = call(broker, PUB, *closed, "-t", "t", "-m", "x", "--quiet", code=1)

    assert "Not authorized" in without
    assert "Bad user name or password" in wrong
    assert quiet == ""


def test_a_broker_that_is_not_there_is_told(broker: Started) -> None:
    said = call(broker, PUB, "-h", "127.0.0.1", "-p", "1", "-t", "t", "-m", "x", code=1)

    assert "127.0.0.1:1" in said
    assert "does a broker listen there?" in said


@publishers
@subscribers
def test_tls_is_spoken_with_an_authority_to_trust(
    broker: Started, certificates: Certificates, subscriber: list[str], publisher: list[str]
) -> None:
    secure = ["-h", "localhost", *place(broker, 1)[2:], "--cafile", str(certificates.ca)]
    call(broker, publisher, *secure, "-t", "tls", "-m", "secret", "-r", "-q", "1")

    wanted = ["-t", "tls", "-C", "1", "-W", "10"]
    assert call(broker, subscriber, *secure, *wanted) == "secret\n"


def test_a_certificate_for_another_name_is_refused_unless_told(
    broker: Started, certificates: Certificates, folder: Path
) -> None:
    others = folder / "others"
    others.mkdir()
    stranger = write_certificates(others)
    base = ["-h", "localhost", *place(broker, 1)[2:], "-t", "t", "-m", "x"]

    said = call(broker, PUB, *base, "--cafile", str(stranger.ca), code=1)
    call(broker, PUB, *base, "--cafile", str(certificates.ca), "--insecure")
    call(broker, PUB, *base, "--cafile", str(certificates.ca), "--tls-version", "tlsv1.3")

    assert "certificate verify failed" in said


@publishers
@subscribers
def test_unix_sockets_are_spoken_to(
    broker: Started, folder: Path, subscriber: list[str], publisher: list[str]
) -> None:
    local = ["--unix", f"{folder}/q.sock"]
    call(broker, publisher, *local, "-t", "unix", "-m", "near", "-r", "-q", "1")

    wanted = ["-t", "unix", "-C", "1", "-W", "10"]
    assert call(broker, subscriber, *local, *wanted) == "near\n"


@publishers
@subscribers
def test_an_address_says_all_in_one(
    broker: Started, subscriber: list[str], publisher: list[str]
) -> None:
    address = f"mqtt://alice:wonderland@127.0.0.1:{urlsplit(broker.addresses[3]).port}/url/topic"

    call(broker, publisher, "-L", address, "-m", "all", "-r", "-q", "1")

    assert call(broker, subscriber, "-L", address, "-C", "1", "-W", "10") == "all\n"


def test_websocket_is_spoken_on_the_same_port(broker: Started) -> None:
    call(broker, PUB, *place(broker), "--ws", "-t", "ws", "-m", "framed", "-r", "-q", "1")

    wanted = ["-t", "ws", "-C", "1", "-W", "10"]
    assert call(broker, SUB, *place(broker), "--ws", *wanted) == "framed\n"


def test_the_password_may_come_from_the_environment(broker: Started) -> None:
    done = subprocess.run(
        [*PUB, *place(broker, 3), "-u", "alice", "-t", "t", "-m", "x"],
        env=environment(Path("/nowhere")) | {"QUANTUMMQ_CLIENT_PASSWORD": "wonderland"},
        check=False,
        timeout=30,
    )

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (PUB, ["-m", "x"], "name a topic with -t"),
        (PUB, ["-t", "lab/#", "-m", "x"], "without the wildcards"),
        (PUB, ["-t", "t"], "exactly one of -m, -f, -l, -s and -n"),
        (PUB, ["-t", "t", "-m", "x", "-n"], "exactly one of"),
        (PUB, ["-t", "t", "-m", "x", "-q", "3"], "--qos"),
        (PUB, ["-t", "t", "-m", "x", "-V", "6"], "--protocol-version"),
        (PUB, ["-t", "t", "-m", "x", "-c"], "give --id"),
        (PUB, ["-t", "t", "-m", "x", "-x", "soon"], "--session-expiry-interval"),
        (PUB, ["-t", "t", "-m", "x", "-D", "publish", "colour", "red"], "no such property"),
        (PUB, ["-t", "t", "-m", "x", "-D", "publish", "content-type"], "-D needs"),
        (PUB, ["-t", "t", "-m", "x", "-V", "311", "-D", "publish", "content-type", "x"], "MQTT 5"),
        (SUB, [], "name a topic filter with -t"),
        (SUB, ["-t", "lab/#/temp"], "'lab/#/temp' is not a Topic Filter"),
        (SUB, ["-t", "t", "-t", "lab+/temp"], "'lab+/temp' is not a Topic Filter"),
        (SUB, ["-U", ""], "'' is not a Topic Filter"),
        (SUB, ["-t", "t", "--will-payload", "x"], "--will-topic"),
        (SUB, ["-t", "t", "--json", "-F", "%p"], "not both"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    broker: Started, command: list[str], options: list[str], said: str
) -> None:
    assert said in call(broker, command, *options, code=2)


def mosquitto_options(program: str) -> set[str]:
    """Every option that the help of a program of mosquitto explains."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"^ (-{1,2}[\w-]+) :", text, re.M))


# What these options do is not there: OpenSSL engines, pre-shared keys and SOCKS proxies.
LEFT_OUT = {
    *("--tls-engine", "--tls-engine-kpass-sha1", "--keyform"),
    *("--psk", "--psk-identity", "--proxy"),
}


@needs_mosquitto
@pytest.mark.parametrize("name", ["pub", "sub"])
def test_every_option_of_mosquittos_program_is_known_but_for_a_few(name: str) -> None:
    theirs = mosquitto_options(f"mosquitto_{name}")
    text = subprocess.run(
        [PROGRAM, name, "--help"], capture_output=True, text=True, check=True
    ).stdout
    ours = set(re.findall(r"(?<![\w-])(-{1,2}[A-Za-z][\w-]*)", text))

    assert len(theirs) > 30
    assert theirs - ours == LEFT_OUT

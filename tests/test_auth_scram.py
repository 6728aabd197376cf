"""SCRAM-SHA-256: the example of the RFC, and all that a client may try."""

import base64
import hashlib
import hmac
import random
from pathlib import Path

import pytest

from quantummq.auth import AuthenticationRequest, Continue, Identity, Refusal, Step
from quantummq.auth.saslprep import saslprep
from quantummq.auth.scram import Scram, ScramExchange, ScramKeys
from quantummq.auth.scram_message import ScramError, parse_client_final, parse_client_first
from quantummq.auth.user_file import write_users
from quantummq.errors import CredentialsError

FAILED = Refusal(0x87, "authentication failed")
# RFC 7677 §3.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the RFC's user, and one whose name needs escapes."""
    path = tmp_path / "scram"
    keys = ScramKeys.derive("pencil", salt=SALT, iterations=4_096)
    write_users(path, {"user": str(keys), "a=b,c": str(keys)})
    return path


def start(file: Path) -> ScramExchange:
    """An exchange with the RFC's server nonce."""
    return Scram(file, nonce=lambda: SERVER_NONCE).start(AuthenticationRequest())


async def exchange(file: Path, first: bytes, final: bytes) -> Step:
    """What an exchange of two messages comes to."""
    scram = start(file)
    challenge = await scram.step(first)
    return await scram.step(final) if isinstance(challenge, Continue) else challenge


def answer(first: bytes, challenge: bytes, password: str, header: bytes = b"n,,") -> bytes:
    """The final message of a client that knows the password."""
    nonce, salt, iterations = (part[2:] for part in challenge.split(b",", 2))
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(salt), int(iterations)
    )
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    unproved = b"c=" + base64.b64encode(header) + b",r=" + nonce
    message = first[len(header) :] + b"," + challenge + b"," + unproved
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return unproved + b",p=" + base64.b64encode(proof)


async def test_the_exchange_of_the_rfc_is_answered_as_there(file: Path) -> None:
    """RFC 7677 §3."""
    scram = start(file)

    assert await scram.step(CLIENT_FIRST) == Continue(SERVER_FIRST)
    assert await scram.step(CLIENT_FINAL) == Identity("user", data=SERVER_FINAL)


async def test_a_client_without_first_data_is_asked_for_it(file: Path) -> None:
    scram = start(file)

    assert await scram.step(None) == Continue(b"")
    assert await scram.step(CLIENT_FIRST) == Continue(SERVER_FIRST)


async def test_names_with_escapes_and_an_equal_authorization_are_accepted(file: Path) -> None:
    header = b"y,a=a=3Db=2Cc,"
    first = header + b"n=a=3Db=2Cc,r=12345678,x=more"
    scram = start(file)

    challenge = await scram.step(first)
    assert isinstance(challenge, Continue)
    result = await scram.step(answer(first, challenge.data, "pencil", header))

    assert isinstance(result, Identity)
    assert result.user == "a=b,c"


async def test_a_wrong_password_is_refused(file: Path) -> None:
    final = answer(CLIENT_FIRST, SERVER_FIRST, "pencils")

    assert await exchange(file, CLIENT_FIRST, final) == FAILED


async def test_an_unknown_user_gets_a_challenge_that_stays_the_same(file: Path) -> None:
    first = b"n,,n=nobody,r=12345678"
    scram = Scram(file, nonce=lambda: SERVER_NONCE)

    one = await scram.start(AuthenticationRequest()).step(first)
    two = await scram.start(AuthenticationRequest()).step(first)

    assert isinstance(one, Continue)
    assert one == two
    assert one.data.endswith(b",i=4096")
    other = await scram.start(AuthenticationRequest()).step(b"n,,n=nobodz,r=12345678")
    assert other != one
    final = answer(first, one.data, "pencil")
    assert await exchange(file, first, final) == FAILED


async def test_the_salt_of_an_unknown_user_survives_a_restart(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "with-secret"
    write_users(path, {"*": str(ScramKeys.derive("anything", iterations=4_096))})
    first = b"n,,n=nobody,r=12345678"

    before = await start(path).step(first)
    after = await start(path).step(first)

    assert before == after
    assert await exchange(path, b"n,,n=*,r=12345678", b"c=biws,r=1,p=AA==") == FAILED


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,n=user,r=short",
        b"n,,n=user,r=with space here",
        b"n,,n=user,r=" + b"x" * 1_025,
        b"n,,n=,r=12345678",
        b"n,,n=us=2cer,r=12345678",
        b"n,,n=us=er,r=12345678",
        b"n,,r=12345678,n=user",
        b"n,,m=ext,n=user,r=12345678",
        b"n,,n=user,r=12345678,",
        b"n,,n=user,r=12345678,xx",
        b"n,a=other,n=user,r=12345678",
        b"n,user,n=user,r=12345678",
        b"x,,n=user,r=12345678",
        b"p=tls-unique,,n=user,r=12345678",
        b"p=tls-exporter,,n=user,r=12345678",
        b"n,,n=us\x00er,r=12345678",
        b"n,,n=us\xffer,r=12345678",
        b"n,,n=us\x7fer,r=12345678",
        b"n,,n=" + b"u" * 9_000 + b",r=12345678",
    ],
)
async def test_a_malformed_first_message_is_refused(file: Path, first: bytes) -> None:
    with pytest.raises(ScramError):
        parse_client_first(first)
    if first:
        assert await start(file).step(first) == FAILED


@pytest.mark.parametrize(
    "final",
    [
        b"",
        CLIENT_FINAL.replace(b"c=biws", b"c=eSws"),
        CLIENT_FINAL.replace(b"c=biws", b"c=cD10bHMtdW5pcXVlLCw="),
        CLIENT_FINAL.replace(b"c=biws", b"c=biwt"),
        CLIENT_FINAL.replace(b"c=biws,", b""),
        CLIENT_FINAL.replace(b"k0,p", b"k1,p"),
        CLIENT_FINAL.replace(SERVER_NONCE.encode(), b""),
        CLIENT_FINAL[:-45],
        CLIENT_FINAL[:-1],
        CLIENT_FINAL.replace(b"VQ=", b"VR="),
        CLIENT_FINAL + b",x=1",
        CLIENT_FINAL.replace(b",p=", b",x=1,p="),
        CLIENT_FINAL.split(b"p=")[0] + b"p=",
        CLIENT_FINAL.split(b"p=")[0] + b"p=" + base64.b64encode(bytes(32)),
        CLIENT_FINAL.split(b"p=")[0] + b"p=" + base64.b64encode(bytes(31)),
        CLIENT_FINAL.split(b"p=")[0] + b"p=" + base64.b64encode(bytes(4_000)),
        CLIENT_FIRST,
    ],
)
async def test_a_final_message_that_proves_nothing_is_refused(file: Path, final: bytes) -> None:
    assert await exchange(file, CLIENT_FIRST, final) == FAILED


async def test_no_change_of_a_single_byte_is_accepted(file: Path) -> None:
    chance = random.Random(7677)

    for place in range(len(CLIENT_FINAL)):
        changed = bytearray(CLIENT_FINAL)
        changed[place] ^= 1 << chance.randrange(8)
        assert await exchange(file, CLIENT_FIRST, bytes(changed)) == FAILED, bytes(changed)


async def test_random_bytes_are_refused_and_never_raise(file: Path) -> None:
    chance = random.Random(5802)

    for _ in range(500):
        junk = chance.randbytes(chance.randrange(1, 80))
        assert await start(file).step(junk) == FAILED
        assert await exchange(file, CLIENT_FIRST, junk) == FAILED


async def test_the_proof_of_one_exchange_is_worth_nothing_in_another(file: Path) -> None:
    scram = Scram(file).start(AuthenticationRequest())
    await scram.step(CLIENT_FIRST)

    assert await scram.step(CLIENT_FINAL) == FAILED


def test_the_order_of_the_final_message_is_kept() -> None:
    with pytest.raises(ScramError):
        parse_client_final(b"r=12345678,c=biws,p=AAAA")


def test_keys_are_read_as_they_are_written() -> None:
    keys = ScramKeys.derive("pencil", salt=SALT, iterations=4_096)

    assert ScramKeys.parse(str(keys)) == keys
    assert "pencil" not in str(keys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCRAM-SHA-256", "SCRAM-SHA-1"),
        ("$4096:", "$4095:"),
        ("$4096:", "$99999999:"),
        ("$4096:", "$x:"),
        ("$4096:", "$"),
        ("W22Z", "W2-Z"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(tmp_path: Path, old: str, new: str) -> None:
    keys = str(ScramKeys.derive("pencil", salt=SALT, iterations=4_096))
    path = tmp_path / "scram"
    path.write_text(f"user:{keys.replace(old, new)}\n", encoding="utf-8")

    with pytest.raises(CredentialsError, match="scram:1"):
        Scram(path)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("user", "user"),
        ("USER", "USER"),
        ("I\u00adX", "IX"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0031\u0628", "\u06271\u0628"),
    ],
)
def test_names_are_prepared_as_the_rfc_shows(text: str, prepared: str) -> None:
    """RFC 4013 §3."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u0627\u0031", "\u0627a\u0628", "\U000e0001", "\u0221"]
)
def test_names_that_the_rfc_forbids_are_refused(text: str) -> None:
    """RFC 4013 §3, §2.3 to §2.5."""
    with pytest.raises(ValueError, match=r".{10}"):
        saslprep(text)

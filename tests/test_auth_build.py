"""From the configuration to a decision: who is asked, and who may come without a word."""

from pathlib import Path

from quantummq.auth import (
    AuthenticationRequest,
    Authenticator,
    Authenticators,
    Continue,
    EnhancedAuthenticator,
    Exchange,
    Identity,
    Refusal,
    Step,
    build,
)
from quantummq.auth.password_file import PasswordFile
from quantummq.auth.password_hash import hash_password
from quantummq.auth.scram import Scram, ScramKeys
from quantummq.auth.user_file import write_users
from quantummq.config import Config


class Greeting:
    """A mechanism that says hello once and then believes whoever speaks."""

    name = "GREETING"

    def start(self, request: AuthenticationRequest) -> "Greeting":
        """Itself: it remembers nothing."""
        assert request.method == self.name
        return self

    async def step(self, data: bytes | None) -> Step:
        """Let in under the name that was said."""
        return Identity(data.decode(), client_id="given") if data else Continue(b"hello")


def configured(tmp_path: Path, **broker: object) -> Authenticators:
    """Authenticators with the user `u` in both files."""
    write_users(tmp_path / "passwords", {"u": hash_password(b"p")})
    write_users(tmp_path / "scram", {"u": str(ScramKeys.derive("p", iterations=4_096))})
    table = {"password_file": tmp_path / "passwords", "scram_file": tmp_path / "scram"}
    raw = {"broker": broker, "authentication": table, "listener": [{"name": "l"}]}
    return build(Config.model_validate(raw))


async def test_credentials_are_checked_against_the_configured_file(tmp_path: Path) -> None:
    authenticators = configured(tmp_path)

    right = AuthenticationRequest(username="u", password=b"p", listener="l")
    wrong = AuthenticationRequest(username="u", password=b"q", listener="l")
    none = AuthenticationRequest(listener="l")

    assert await authenticators.authenticate(right) == Identity("u")
    assert isinstance(await authenticators.authenticate(wrong), Refusal)
    assert isinstance(await authenticators.authenticate(none), Refusal)
    authenticators.close()


async def test_anonymous_clients_come_in_only_where_that_is_said(tmp_path: Path) -> None:
    authenticators = configured(tmp_path, anonymous=True)

    assert await authenticators.authenticate(AuthenticationRequest(listener="l")) == Identity("")
    elsewhere = await authenticators.authenticate(AuthenticationRequest(listener="other"))
    wrong = AuthenticationRequest(username="u", password=b"q", listener="l")

    assert isinstance(elsewhere, Refusal)
    assert isinstance(await authenticators.authenticate(wrong), Refusal)
    authenticators.close()


async def test_a_name_without_anything_to_check_it_against_is_refused() -> None:
    authenticators = Authenticators(anonymous_listeners=frozenset({"l"}))

    answer = await authenticators.authenticate(AuthenticationRequest(username="u", listener="l"))

    assert isinstance(answer, Refusal)


async def test_the_method_chooses_the_mechanism(tmp_path: Path) -> None:
    """An unknown one is refused [MQTT-4.12.0-1]."""
    authenticators = configured(tmp_path)

    known = authenticators.begin(AuthenticationRequest(method="SCRAM-SHA-256"))
    unknown = authenticators.begin(AuthenticationRequest(method="scram-sha-256"))
    authenticators.close()

    assert isinstance(known, Exchange)
    assert unknown == Refusal(0x8C, "unknown authentication method")


async def test_a_mechanism_of_ones_own_is_asked() -> None:
    authenticators = Authenticators(methods={"GREETING": Greeting()})
    exchange = authenticators.begin(AuthenticationRequest(method="GREETING"))

    assert isinstance(exchange, Exchange)
    assert await exchange.step(None) == Continue(b"hello")
    assert await exchange.step(b"me") == Identity("me", client_id="given")


async def test_re_authentication_cannot_change_the_user() -> None:
    authenticators = Authenticators(methods={"GREETING": Greeting()})
    request = AuthenticationRequest(method="GREETING", current_user="me")
    exchange = authenticators.begin(request)

    assert isinstance(exchange, Exchange)
    assert isinstance(await exchange.step(b"other"), Refusal)
    assert await exchange.step(b"me") == Identity("me")


def test_the_core_keeps_its_own_protocols(tmp_path: Path) -> None:
    configured(tmp_path).close()
    passwords = PasswordFile(tmp_path / "passwords")

    assert isinstance(passwords, Authenticator)
    assert isinstance(Scram(tmp_path / "scram"), EnhancedAuthenticator)
    passwords.close()

"""The client's side of SCRAM-SHA-256, made without anything of the product (RFC 5802, RFC 7677)."""

import base64
import hashlib
import hmac
import secrets

METHOD = "SCRAM-SHA-256"


class ScramClient:
    """One exchange: `first` is sent, `final` answers the challenge, `trusts` checks the end."""

    def __init__(self, user: str, password: str) -> None:
        self._password = password
        self._bare = f"n={user},r={secrets.token_urlsafe(18)}".encode()
        self._server_signature = b""

    @property
    def first(self) -> bytes:
        """The first message: no channel binding, and who it is."""
        return b"n,," + self._bare

    def final(self, challenge: bytes) -> bytes:
        """The proof that belongs to the challenge."""
        nonce, salt, iterations = (part[2:] for part in challenge.split(b",", 2))
        assert nonce.startswith(self._bare.split(b",r=")[1]), "the nonce is not that of the client"
        salted = hashlib.pbkdf2_hmac(
            "sha256", self._password.encode(), base64.b64decode(salt), int(iterations)
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        unproved = b"c=" + base64.b64encode(b"n,,") + b",r=" + nonce
        message = self._bare + b"," + challenge + b"," + unproved
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self._server_signature = hmac.digest(server_key, message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return unproved + b",p=" + base64.b64encode(proof)

    def trusts(self, server_final: object) -> bool:
        """Whether the server has shown that it knows the password too."""
        return server_final == b"v=" + base64.b64encode(self._server_signature)

"""`--lan`: credentials for a broker that the whole local network can reach."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantummq.auth.password_hash import hash_password, validate_hash
from quantummq.auth.user_file import read_users, write_users
from quantummq.config import Config

USER: Final = "lan"
FILE: Final = "passwords"
# Letters and digits that people do not confuse when they type them into a device.
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
# 16 of 31 letters are 79 bits.
_LETTERS: Final = 16


@dataclass(frozen=True, slots=True)
class LanCredentials:
    """What `--lan` did.

    Attributes:
        config: The configuration with the password file in it.
        user: The user's name.
        file: The password file.
        password: The new user's password, or None if the user was there before.
    """

    config: Config
    user: str
    file: Path
    password: str | None


def with_credentials(config: Config) -> LanCredentials | None:
    """Makes sure that `config` asks for credentials; None if it does by itself.

    The user `lan` is made on the first start; its hash stays in the data folder's password file,
    its password nowhere.

    Raises:
        CredentialsError: the password file cannot be read or written.
    """
    if config.authentication.is_configured:
        return None
    file = config.broker.data_path / FILE
    users = read_users(file, validate_hash) if file.exists() else {}
    password: str | None = None
    if USER not in users:
        password = "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS))
        users[USER] = hash_password(password.encode())
        write_users(file, users)
    table = config.authentication.model_copy(update={"password_file": file})
    return LanCredentials(config.model_copy(update={"authentication": table}), USER, file, password)

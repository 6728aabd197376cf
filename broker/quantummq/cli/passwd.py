"""`quantummq passwd`."""

import json
import secrets
import sys
from pathlib import Path

import click

from quantummq.errors import CredentialsError

# 20 characters of 64 are 120 bits.
_GENERATED_BYTES = 15

_EPILOG = """\b
Examples:
  quantummq passwd passwords alice               asks for the password
  quantummq passwd passwords device1 --generate  prints a new one
  echo "$WORD" | quantummq passwd passwords bob  reads it from standard input
  quantummq passwd passwords bob --delete
  quantummq passwd passwords --list
  quantummq passwd scram alice --scram           for authentication.scram_file

A running broker reads the file again within seconds.
"""


@click.command("passwd", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("user", required=False)
@click.option("--delete", is_flag=True, help="Remove the user.")
@click.option("--list", "as_list", is_flag=True, help="Print the users of the file.")
@click.option("--generate", is_flag=True, help="Make a random password and print it.")
@click.option("--scram", is_flag=True, help="Keep SCRAM-SHA-256 keys, not an argon2id hash.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    *,
    file: Path,
    user: str | None,
    delete: bool,
    as_list: bool,
    generate: bool,
    scram: bool,
    as_json: bool,
) -> None:
    """Add, change and remove users of a password file.

    FILE is made if it is not there, readable by you alone. The password itself is kept nowhere.
    """
    users = _read(file, scram=scram)
    if as_list:
        names = [name for name in users if name != "*"]
        click.echo(json.dumps({"users": names}) if as_json else "\n".join(names))
        return
    if user is None:
        raise click.UsageError("name a USER, or give --list")
    if delete:
        _delete(file, users, user)
        done = {"file": str(file), "user": user, "deleted": True}
        click.echo(json.dumps(done) if as_json else f"removed {user} from {file}")
        return
    password = secrets.token_urlsafe(_GENERATED_BYTES) if generate else _ask(user)
    existed = user in users
    _set(file, users, user, password, scram=scram)
    said: dict[str, str | bool] = {"file": str(file), "user": user, "changed": existed}
    if generate:
        said["password"] = password
    if as_json:
        click.echo(json.dumps(said))
    else:
        click.echo(f"{'changed' if existed else 'added'} {user} in {file}")
        if generate:
            click.echo(f"password: {password}")


def _read(file: Path, *, scram: bool) -> dict[str, str]:
    from quantummq.auth.user_file import read_users

    if not file.exists():
        return {}
    if scram:
        from quantummq.auth.scram import ScramKeys

        return read_users(file, ScramKeys.parse)
    from quantummq.auth.password_hash import validate_hash

    return read_users(file, validate_hash)


def _delete(file: Path, users: dict[str, str], user: str) -> None:
    from quantummq.auth.user_file import write_users

    if users.pop(user, None) is None:
        raise CredentialsError(f"{file}: there is no user {user!r}; see quantummq passwd --list")
    write_users(file, users)


def _set(file: Path, users: dict[str, str], user: str, password: str, *, scram: bool) -> None:
    from quantummq.auth.user_file import valid_user, write_users

    name = valid_user(user)
    if not password:
        raise CredentialsError("an empty password would let anybody in; give another")
    if scram:
        name = _set_scram(users, name, password)
    else:
        from quantummq.auth.password_hash import hash_password

        users[name] = hash_password(password.encode("utf-8", "surrogateescape"))
    write_users(file, users)


def _set_scram(users: dict[str, str], name: str, password: str) -> str:
    from quantummq.auth.saslprep import saslprep
    from quantummq.auth.scram import DECOY_USER, ScramKeys

    try:
        prepared = saslprep(name)
        if not prepared or prepared == DECOY_USER:
            raise ValueError(f"{name!r} cannot be the name of a user")
        users.setdefault(DECOY_USER, str(ScramKeys.derive(secrets.token_urlsafe(32))))
        users[prepared] = str(ScramKeys.derive(password))
    except ValueError as error:
        raise CredentialsError(str(error)) from None
    return prepared


def _ask(user: str) -> str:
    """The password: typed twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        asked: str = click.prompt(f"Password for {user}", hide_input=True, confirmation_prompt=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n")

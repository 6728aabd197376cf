"""The root of everything this package raises, and the errors that belong to no single room.

QuantumMQError
├── ConfigError          the configuration cannot be used
├── CredentialsError     a file of users or keys cannot be used (auth/)
└── EngineError …        see engine.py
"""


class QuantumMQError(Exception):
    """The root: whatever this package raises on purpose derives from it."""


class ConfigError(QuantumMQError):
    """The configuration cannot be used: `where` is the dotted key, `why` a full sentence.

    Attributes:
        where: The dotted key, such as `listener[0].tls.key`; a file's name if it has no key.
        why: What is wrong and what to do about it.
        others: Further errors found in the same reading, in the order of the file.
    """

    def __init__(self, where: str, why: str, others: "tuple[ConfigError, ...]" = ()) -> None:
        """Joins place and reason to the message people see."""
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why
        self.others = others

    @property
    def all(self) -> "tuple[ConfigError, ...]":
        """This error and all others of the same reading."""
        return (self, *self.others)


def raise_all(errors: "list[ConfigError]") -> None:
    """Raises the first of `errors` with the rest attached; does nothing if there are none."""
    if errors:
        first, *others = errors
        raise ConfigError(first.where, first.why, tuple(others))


class CredentialsError(QuantumMQError):
    """A file of users or keys cannot be read or written; the message says which and why."""

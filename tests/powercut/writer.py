"""A program for the shim to watch: SQLite as the broker has it, without the broker.

Arguments: folder, value of `synchronous`, number of rows. Each row is acknowledged by a line in
the file `acknowledged` after its commit; the folder is synchronised with the first.
"""

import os
import sqlite3
import sys
from pathlib import Path

CHECKPOINT_PAGES = 40
"""The write-ahead log begins anew often, so that a cut meets that too."""


def main(folder: Path, synchronous: str, rows: int) -> None:
    """Writes rows, a commit each."""
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB) STRICT")
    with (folder / "acknowledged").open("ab", buffering=0) as acknowledged:
        for number in range(1, rows + 1):
            connection.execute("INSERT INTO row VALUES (?, ?)", (number, os.urandom(700)))
            acknowledged.write(b"%d\n" % number)
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

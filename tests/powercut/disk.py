"""A model of a disk behind a cache: what is on it for sure, what may be, and what a cut leaves.

Files and folders are nodes; names lead to them. A node's changes are certain once a
synchronisation that began after them is done, the names in a folder once the folder was
synchronised. A cut decides about the rest by chance, within what POSIX allows.
"""

import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from tests.powercut.record import Entry, Operation

SECTOR: Final = 512
"""Bytes that a disk writes as a whole."""

Found: TypeAlias = dict[Path, bytes | None]
"""What a folder holds, itself included: files with their content, folders with none."""


@dataclass(frozen=True)
class Change:
    """Bytes written at an offset, or (`None`) a new length."""

    offset: int
    written: bytes | None = None

    def apply(self, content: bytearray) -> None:
        """Does it; a gap is filled with zeros."""
        if self.written is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        if not self.written:
            return
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.written)] = self.written


@dataclass(eq=False)
class Node:
    """A file or a folder."""

    is_folder: bool = False
    content: bytearray = field(default_factory=bytearray)
    """For sure on the disk."""
    changes: list[Change] = field(default_factory=list[Change])
    """Made since."""
    size: int = 0
    """As the process sees it."""
    settled: int = 0
    """How many changes are no longer in `changes`."""

    def change(self, change: Change) -> None:
        """Into the cache."""
        self.changes.append(change)
        end = change.offset + len(change.written or b"")
        self.size = end if change.written is None else max(self.size, end)

    def take(self, until: int) -> list[Change]:
        """The changes before this one, counted from the node's first: their fate is known."""
        count = max(0, until - self.settled)
        taken = self.changes[:count]
        del self.changes[:count]
        self.settled += len(taken)
        return taken

    def settle(self, changes: Iterable[Change]) -> None:
        """These are on the disk."""
        for change in changes:
            change.apply(self.content)


Names: TypeAlias = dict[Path, Node]


@dataclass(frozen=True)
class Renaming:
    """One change of names: `gone` no longer leads anywhere, `path` leads to `node`."""

    path: Path
    node: Node | None
    gone: Path | None = None

    def apply(self, names: Names) -> None:
        """Does it."""
        if self.gone is not None:
            names.pop(self.gone, None)
        if self.node is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.node

    @property
    def folders(self) -> set[Path]:
        """Those it changes."""
        return {self.path.parent} | ({self.gone.parent} if self.gone else set())


class Disk:
    """What lies under one folder, from its content before a process to any moment of its life."""

    def __init__(self, root: Path, before: Found, chance: random.Random) -> None:
        self.root = root.resolve()
        self.chance = chance
        self.names: Names = {}
        self.renamings: list[tuple[int, Renaming]] = []
        """Not certain yet, in order, numbered."""
        self._renamed = 0
        self._descriptors: dict[int, Node] = {}
        self._paths: dict[int, Path] = {}
        self._syncs: dict[int, tuple[Node, int]] = {}
        for path, content in before.items():
            node = Node(content is None, bytearray(content or b""))
            node.size = len(node.content)
            self.names[path] = node
        self.certain: Names = dict(self.names)

    # --- what the process did ------------------------------------------------------------------

    def play(self, entries: Iterable[Entry]) -> None:
        """Does what was recorded."""
        for entry in entries:
            self._do(entry)

    def _do(self, entry: Entry) -> None:
        match entry.operation:
            case Operation.OPEN:
                self._open(entry)
            case Operation.CLOSE:
                del self._descriptors[entry.descriptor]
            case Operation.DUP:
                self._descriptors[entry.first] = self._descriptors[entry.descriptor]
                self._paths[entry.first] = self._paths[entry.descriptor]
            case Operation.WRITE:
                self._descriptors[entry.descriptor].change(Change(entry.first, entry.rest))
            case Operation.TRUNCATE:
                self._descriptors[entry.descriptor].change(Change(entry.first))
            case Operation.ALLOCATE:
                node = self._descriptors[entry.descriptor]
                node.change(Change(max(entry.first, node.size)))
            case Operation.SYNC_BEGUN:
                node = self._descriptors[entry.descriptor]
                until = self._renamed if node.is_folder else node.settled + len(node.changes)
                self._syncs[entry.first] = (node, until)
            case Operation.SYNC_DONE | Operation.SYNC_FAILED:
                self._synchronise(entry)
            case Operation.RENAME:
                old, new = entry.paths
                moved = [path for path in self.names if old in (path, *path.parents)]
                for path in moved:
                    target = new / path.relative_to(old)
                    self._rename(Renaming(target, self.names[path], gone=path))
            case Operation.LINK:
                old, new = entry.paths
                self._rename(Renaming(new, self.names[old]))
            case Operation.UNLINK:
                self._rename(Renaming(entry.paths[0], None))
            case Operation.MKDIR:
                self._rename(Renaming(entry.paths[0], Node(is_folder=True)))

    def _open(self, entry: Entry) -> None:
        path = entry.paths[0]
        if entry.second:
            self._rename(Renaming(path, Node()))
        node = self.names[path]
        self._descriptors[entry.descriptor] = node
        self._paths[entry.descriptor] = path
        if entry.first and not entry.second:
            node.change(Change(0))

    def _rename(self, renaming: Renaming) -> None:
        renaming.apply(self.names)
        self._renamed += 1
        self.renamings.append((self._renamed, renaming))

    def _synchronise(self, entry: Entry) -> None:
        """What was changed before it began is on the disk."""
        node, until = self._syncs.pop(entry.first)
        if entry.operation == Operation.SYNC_FAILED:
            # The kernel takes these for written, and tells nobody again: what is not on the disk
            # now never gets there by another synchronisation.
            node.settle(self._fates(node.take(0 if node.is_folder else until)))
        elif node.is_folder:
            self._settle_names(self._paths[entry.descriptor], until)
        else:
            node.settle(node.take(until))

    def _settle_names(self, folder: Path, until: int) -> None:
        left: list[tuple[int, Renaming]] = []
        for number, renaming in self.renamings:
            if number <= until and folder in renaming.folders:
                renaming.apply(self.certain)
            else:
                left.append((number, renaming))
        self.renamings = left

    # --- the cut -------------------------------------------------------------------------------

    def cut(self) -> Found:
        """What is there when the power is back."""
        names = dict(self.certain)
        # Nothing of what is not certain, or some first part: a journal keeps the order.
        kept = self.chance.choice([0, self.chance.randint(0, len(self.renamings))])
        for _, renaming in self.renamings[:kept]:
            renaming.apply(names)
        found: Found = {}
        contents: dict[Node, bytes] = {}
        for path in sorted(names):
            node = names[path]
            if path != self.root and not self._is_reached(path, names):
                continue
            if not node.is_folder and node not in contents:
                content = bytearray(node.content)
                for change in self._fates(node.changes):
                    change.apply(content)
                contents[node] = bytes(content)
            found[path] = None if node.is_folder else contents[node]
        return found

    def whole(self) -> Found:
        """What is there without a cut."""
        found: Found = {}
        for path in sorted(self.names):
            node = self.names[path]
            content = bytearray(node.content)
            for change in node.changes:
                change.apply(content)
            found[path] = None if node.is_folder else bytes(content)
        return found

    def _is_reached(self, path: Path, names: Names) -> bool:
        parents = [each for each in path.parents if self.root in (each, *each.parents)]
        return all(each in names and names[each].is_folder for each in parents)

    def _fates(self, changes: list[Change]) -> list[Change]:
        """Each is kept, dropped or torn; how often which is different from cut to cut."""
        weights = self.chance.choice([(1, 1, 1), (1, 8, 1), (8, 1, 1), (0, 1, 0)])
        kept: list[Change] = []
        for change in changes:
            fate = self.chance.choices(["keep", "drop", "tear"], weights)[0]
            if fate == "tear" and change.written is not None:
                kept.append(self._tear(change.offset, change.written))
            elif fate == "keep":
                kept.append(change)
        return kept

    def _tear(self, offset: int, written: bytes) -> Change:
        """Its beginning or its end, from one boundary of sectors on."""
        first = offset // SECTOR + 1
        last = (offset + len(written)) // SECTOR
        boundary = self.chance.randint(first, max(first, last)) * SECTOR - offset
        if self.chance.random() < 0.5:
            return Change(offset, written[:boundary])
        return Change(min(offset + boundary, offset + len(written)), written[boundary:])


def snapshot(root: Path) -> Found:
    """What a folder holds now, but for memory that SQLite shares between processes."""
    paths = [path for path in root.resolve().rglob("*") if not path.name.endswith("-shm")]
    found: Found = {path: path.read_bytes() if path.is_file() else None for path in sorted(paths)}
    return {root.resolve(): None, **found}


def restore(root: Path, found: Found) -> None:
    """Makes the folder into what was found after the cut."""
    shutil.rmtree(root)
    for path, content in found.items():
        if content is None:
            path.mkdir(parents=True)
        else:
            path.write_bytes(content)

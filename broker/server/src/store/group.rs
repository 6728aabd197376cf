//! A group: the statements that commit together, and how far that is done.

use rusqlite::Connection;

use super::database::State;
use super::log::Pieces;

/// What is to be committed. It stays until it is: its numbers are given, its tickets are out.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) pieces: Pieces,
    /// What the row of `state` says afterwards.
    pub(super) state: State,
    /// Pieces that are committed.
    pub(super) done: usize,
}

impl Group {
    /// Commits what is left in one transaction, or each piece in its own.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        in_parts: bool,
    ) -> rusqlite::Result<()> {
        while self.done < self.pieces.len() {
            let end = if in_parts { self.done + 1 } else { self.pieces.len() };
            self.transact(connection, end)?;
            self.done = end;
        }
        Ok(())
    }

    /// Whether all of it is committed.
    pub(super) fn is_done(&self) -> bool {
        self.done >= self.pieces.len()
    }

    fn transact(&self, connection: &Connection, end: usize) -> rusqlite::Result<()> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let outcome = self.run(connection, end);
        if outcome.is_err() && !connection.is_autocommit() {
            // SQLite has often rolled back by itself; the error to tell is the first.
            drop(connection.execute_batch("ROLLBACK"));
        }
        outcome
    }

    fn run(&self, connection: &Connection, end: usize) -> rusqlite::Result<()> {
        for op in self.pieces.get(self.done..end).unwrap_or_default().iter().flatten() {
            op.run(connection)?;
        }
        State { part: end, ..self.state }.write(connection)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// What the file says of it, after the connection was opened anew.
    pub(super) fn read_back(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let found = State::read(connection)?;
        self.done = if found.group == self.state.group { found.part } else { 0 };
        Ok(())
    }
}

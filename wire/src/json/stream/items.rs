//! Leaving out items of containers: which of the commas around them goes too.

use super::{Cursor, Expect, Kind, Scanner};
use crate::json::JsonErrorKind;

impl Scanner {
    pub(super) fn comma(
        &mut self,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        let level = match (self.expect, self.stack.last()) {
            (Expect::CommaOrEnd, Some(level)) => *level,
            _ => return Err(self.unexpected()),
        };
        self.expect = if level.object {
            Expect::Key
        } else {
            Expect::Value
        };
        if self.limits.drops && self.hidden.is_none() {
            self.flush(cursor, cursor.at, out);
            if level.kept {
                self.held = Some(Vec::new());
            } else {
                // All in front of it was dropped.
                cursor.copied = cursor.at + 1;
            }
        }
        Ok(())
    }

    /// An item of a container begins at `start`: the comma in front of it stays if it does.
    pub(super) fn settle(
        &mut self,
        cursor: &mut Cursor<'_>,
        start: usize,
        stays: bool,
        out: &mut Vec<u8>,
    ) {
        self.flush(cursor, start, out);
        if let Some(held) = self.held.take()
            && stays
        {
            out.extend_from_slice(&held);
        }
        if let Some(level) = self.stack.last_mut() {
            level.kept |= stays;
        }
    }

    /// Whether a token of this kind begins an item of a container, with what may have to go with it.
    #[inline]
    pub(super) fn begins_item(&self, kind: Kind) -> bool {
        if !self.limits.drops || self.hidden.is_some() {
            return false;
        }
        kind == Kind::Key || self.stack.last().is_some_and(|level| !level.object)
    }
}

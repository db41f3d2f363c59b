//! Text answers: searched in stretches that end where no value can lie.

use super::inspector::Inspector;
use super::media::Charset;
use super::withheld::{Reason, Withheld};

/// Longest stretch without a place to cut, in bytes.
pub(super) const STRETCH_BYTES_MAX: usize = 1024 * 1024;
/// Longest private key that is waited for, in bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// The state of one text body.
#[derive(Debug)]
pub(super) struct TextCodec {
    charset: Charset,
    pending: Vec<u8>,
}

impl TextCodec {
    pub(super) fn new(charset: Charset) -> Self {
        Self {
            charset,
            pending: Vec::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let searched = self.pending.len();
        self.pending.extend_from_slice(chunk);
        // INVARIANT: the pending bytes of earlier chunks hold no place to cut but those inside an
        // unfinished key, so that work stays linear.
        let cut = chunk
            .iter()
            .rposition(is_cut)
            .map_or(0, |at| searched + at + 1);
        let ready = self.pending.get(..cut).unwrap_or_default();
        let cut = match inspector.plan().settings.detectors.unfinished(ready) {
            Some(start) if cut - start > KEY_BYTES_MAX => {
                return Err(Reason::Text("a private key is longer than 64 KiB").into());
            }
            // A value may reach into the dashes of the key's first line: both stay together.
            Some(start) => {
                let ahead = ready.get(..start).unwrap_or_default();
                ahead.iter().rposition(is_cut).map_or(0, |at| at + 1)
            }
            None => cut,
        };
        let ready = self.pending.get(..cut).unwrap_or_default();
        check(ready, self.charset)?;
        mask(ready, inspector, out);
        self.pending.drain(..cut);
        if self.pending.len() > STRETCH_BYTES_MAX {
            return Err(Reason::TooLong("a line of text").into());
        }
        Ok(())
    }

    pub(super) fn finish(
        self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        check(&self.pending, self.charset)?;
        mask(&self.pending, inspector, out);
        Ok(())
    }
}

/// Searches whole text and appends it, findings replaced.
pub(super) fn mask(text: &[u8], inspector: &mut Inspector, out: &mut Vec<u8>) {
    if inspector.search(text) {
        inspector.write(text, out);
    } else {
        out.extend_from_slice(text);
    }
}

/// Bytes that no value of any detector holds, private keys aside.
pub(super) fn is_cut(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\t' | b',' | b'<' | b'>' | b'|')
}

/// Text that another reader could take for other characters is not inspected.
pub(super) fn check(text: &[u8], charset: Charset) -> Result<(), Withheld> {
    if memchr::memchr(0, text).is_some() {
        return Err(Reason::Text("text with NUL bytes cannot be inspected").into());
    }
    if charset == Charset::Utf8 && std::str::from_utf8(text).is_err() {
        return Err(Reason::Text("text that is not UTF-8 cannot be inspected").into());
    }
    Ok(())
}

//! Content codings (RFC 9110 8.4): decoded, with caps on what a small answer may unfold to.

use std::fmt;
use std::io::Write;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::withheld::{Reason, Withheld};

/// Most decoded bytes of one answer.
pub const DECODED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most decoded bytes for each encoded one, once [`RATIO_FREE_BYTES`] are exceeded.
pub const RATIO_MAX: u64 = 100;
/// Decoded bytes that no ratio applies to.
pub const RATIO_FREE_BYTES: u64 = 1024 * 1024;
/// Encoded bytes that are decoded between two looks at the caps (deflate makes at most about a
/// thousand of each).
const STEP_BYTES: usize = 1024;
/// Decoded bytes that are handed on at once.
const BLOCK_BYTES: usize = 32 * 1024;
/// Largest zstd window: 8 MiB, the limit of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The codings that can be undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    Brotli,
}

impl Coding {
    /// Reads a `Content-Encoding` value. Several codings over each other are refused.
    pub(super) fn parse(header: Option<&str>) -> Result<Self, Withheld> {
        let mut coding = Self::Identity;
        for name in header.unwrap_or_default().split(',') {
            let name = name.trim();
            let next = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "zstd" => Self::Zstd,
                "br" => Self::Brotli,
                _ => return Err(unknown(name)),
            };
            if coding != Self::Identity {
                return Err(unknown(header.unwrap_or_default()));
            }
            coding = next;
        }
        Ok(coding)
    }
}

fn unknown(name: &str) -> Withheld {
    Reason::UnknownCoding(name.chars().take(40).collect()).into()
}

/// Undoes one coding.
#[derive(Debug)]
pub(super) struct Decoder {
    engine: Engine,
    caps: Caps,
    encoded: u64,
    decoded: u64,
}

/// Whether the caps hold. They protect what is inspected; an answer that is only passed on is the
/// caller's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caps {
    Kept,
    Lifted,
}

enum Engine {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate {
        decompress: Option<Decompress>,
        ended: bool,
    },
    Zstd {
        decoder: ZstdDecoder<'static>,
        ended: bool,
    },
    Brotli {
        state: Box<Brotli>,
        ended: bool,
    },
}

/// Made with `new_strict`, so that its window is at most 16 MiB (RFC 7932, 9.1): the other constructor
/// also reads the large-window format, whose window has up to 1 GiB.
type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Engine {
    fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip(_) => "gzip",
            Self::Deflate { .. } => "deflate",
            Self::Zstd { .. } => "zstd",
            Self::Brotli { .. } => "br",
        }
    }
}

type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Withheld> + 'a;

impl Decoder {
    pub(super) fn new(coding: Coding, caps: Caps) -> Result<Self, Withheld> {
        let engine = match coding {
            Coding::Identity => Engine::Identity,
            Coding::Gzip => Engine::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Engine::Deflate {
                decompress: None,
                ended: false,
            },
            Coding::Brotli => Engine::Brotli {
                state: Box::new(BrotliState::new_strict(
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                )),
                ended: false,
            },
            Coding::Zstd => {
                let broken = |_| Withheld::from(Reason::BrokenCoding("zstd"));
                let mut decoder = ZstdDecoder::new().map_err(broken)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                    .map_err(broken)?;
                Engine::Zstd {
                    decoder,
                    ended: false,
                }
            }
        };
        Ok(Self {
            engine,
            caps,
            encoded: 0,
            decoded: 0,
        })
    }

    /// Whether bytes pass as they are.
    pub(super) fn is_identity(&self) -> bool {
        matches!(self.engine, Engine::Identity)
    }

    /// Decodes the next bytes and hands what they give to `sink`.
    pub(super) fn push(&mut self, chunk: &[u8], sink: &mut Sink<'_>) -> Result<(), Withheld> {
        if self.is_identity() {
            return sink(chunk);
        }
        for step in chunk.chunks(STEP_BYTES) {
            self.encoded += step.len() as u64;
            let (encoded, caps, decoded) = (self.encoded, self.caps, &mut self.decoded);
            let mut counted = |block: &[u8]| {
                *decoded += block.len() as u64;
                check_caps(caps, encoded, *decoded)?;
                sink(block)
            };
            self.engine.step(step, &mut counted)?;
        }
        Ok(())
    }

    /// Ends the stream: it must be complete. An empty body is complete in any coding.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Withheld> {
        if self.encoded == 0 {
            return Ok(());
        }
        let broken = || Err(Reason::BrokenCoding(self.engine.name()).into());
        match &self.engine {
            Engine::Identity => Ok(()),
            Engine::Deflate { ended, .. }
            | Engine::Zstd { ended, .. }
            | Engine::Brotli { ended, .. } => {
                if *ended {
                    Ok(())
                } else {
                    broken()
                }
            }
            Engine::Gzip(_) => self.finish_gzip(sink),
        }
    }

    fn finish_gzip(&mut self, sink: &mut Sink<'_>) -> Result<(), Withheld> {
        let Engine::Gzip(decoder) = &mut self.engine else {
            return Ok(());
        };
        decoder
            .try_finish()
            .map_err(|_| Reason::BrokenCoding("gzip"))?;
        let rest = std::mem::take(decoder.get_mut());
        self.decoded += rest.len() as u64;
        check_caps(self.caps, self.encoded, self.decoded)?;
        sink(&rest)
    }
}

fn check_caps(caps: Caps, encoded: u64, decoded: u64) -> Result<(), Withheld> {
    if caps == Caps::Lifted {
        return Ok(());
    }
    if decoded > DECODED_BYTES_MAX {
        return Err(Reason::Inflated("64 MiB").into());
    }
    if decoded > RATIO_FREE_BYTES && decoded > encoded.saturating_mul(RATIO_MAX) {
        return Err(Reason::Inflated("a hundred times its size").into());
    }
    Ok(())
}

impl Engine {
    fn step(&mut self, step: &[u8], sink: &mut Sink<'_>) -> Result<(), Withheld> {
        let broken = Withheld::from(Reason::BrokenCoding(self.name()));
        match self {
            Self::Identity => sink(step),
            Self::Gzip(decoder) => {
                let written = decoder.write_all(step).and_then(|()| decoder.flush());
                written.map_err(|_| broken)?;
                let block = std::mem::take(decoder.get_mut());
                sink(&block)?;
                let mut block = block;
                block.clear();
                *decoder.get_mut() = block;
                Ok(())
            }
            Self::Deflate { decompress, ended } => inflate(decompress, ended, step, sink, &broken),
            Self::Zstd { decoder, ended } => unzstd(decoder, ended, step, sink, &broken),
            Self::Brotli { state, ended } => unbrotli(state, ended, step, sink, &broken),
        }
    }
}

/// `deflate` means the zlib format (RFC 9110 8.4.1.2), but some send it without the zlib header: its
/// first byte tells.
fn inflate(
    decompress: &mut Option<Decompress>,
    ended: &mut bool,
    mut step: &[u8],
    sink: &mut Sink<'_>,
    broken: &Withheld,
) -> Result<(), Withheld> {
    let zlib = step
        .first()
        .is_some_and(|byte| byte & 0x0F == 8 && byte >> 4 <= 7);
    let decompress = decompress.get_or_insert_with(|| Decompress::new(zlib));
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if *ended {
            return if step.is_empty() {
                Ok(())
            } else {
                Err(broken.clone())
            };
        }
        let (read, written) = (decompress.total_in(), decompress.total_out());
        let status = decompress
            .decompress(step, &mut block, FlushDecompress::None)
            .map_err(|_| broken.clone())?;
        let read = usize::try_from(decompress.total_in() - read).map_err(|_| broken.clone())?;
        let written =
            usize::try_from(decompress.total_out() - written).map_err(|_| broken.clone())?;
        step = step.get(read..).unwrap_or_default();
        sink(block.get(..written).unwrap_or_default())?;
        *ended = status == Status::StreamEnd;
        if !*ended && written == 0 && (step.is_empty() || read == 0) {
            return if step.is_empty() {
                Ok(())
            } else {
                Err(broken.clone())
            };
        }
    }
}

fn unzstd(
    decoder: &mut ZstdDecoder<'static>,
    ended: &mut bool,
    step: &[u8],
    sink: &mut Sink<'_>,
    broken: &Withheld,
) -> Result<(), Withheld> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut input = InBuffer::around(step);
    loop {
        let mut output = OutBuffer::around(block.as_mut_slice());
        let hint = decoder
            .run(&mut input, &mut output)
            .map_err(|_| broken.clone())?;
        // Frames may follow each other; a hint of 0 says that one is complete, and all of it written.
        *ended = hint == 0;
        let full = output.pos() == BLOCK_BYTES;
        let written = output.pos();
        sink(block.get(..written).unwrap_or_default())?;
        // Asked once more behind a complete frame, the decoder would begin the next one, which is not there.
        if input.pos() == step.len() && (*ended || !full) {
            return Ok(());
        }
    }
}

fn unbrotli(
    state: &mut Brotli,
    ended: &mut bool,
    step: &[u8],
    sink: &mut Sink<'_>,
    broken: &Withheld,
) -> Result<(), Withheld> {
    let mut block = vec![0; BLOCK_BYTES];
    let (mut left, mut read, mut total) = (step.len(), 0, 0);
    loop {
        if *ended {
            return if left == 0 {
                Ok(())
            } else {
                Err(broken.clone())
            };
        }
        let (mut room, mut written) = (BLOCK_BYTES, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            step,
            &mut room,
            &mut written,
            &mut block,
            &mut total,
            state,
        );
        sink(block.get(..written).unwrap_or_default())?;
        match result {
            BrotliResult::ResultSuccess => *ended = true,
            BrotliResult::NeedsMoreInput => return Ok(()),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(broken.clone()),
        }
    }
}

//! Content keys: commitments in clear, content sealed.
//!
//! Every call and every event has a key of its own: `HKDF-SHA256(salt = 32 random bytes, key material =
//! the subject's key of the day)`. Two keys come out of it, one to seal and one from which the salts of the
//! commitments are made; so whoever loses the subject's key, or that of the day, loses both the content and
//! the means to guess it from a commitment. AES-GCM does not commit to its key, so the frame that names the
//! salt states SHA-256 of the key to seal, too.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::{hkdf, hmac, rand};

use super::Error;
use super::frame::le32;
use crate::secret::Secret;

/// Content is cut into pieces of this many bytes, each sealed by itself.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Bytes before the ciphertext of a sealed frame.
pub(super) const SEALED_HEADER_BYTES: usize = 24;

/// Bytes of a subject's pseudonym.
pub(super) const REFERENCE_BYTES: usize = 16;

const ZSTD_LEVEL: i32 = 1;
const FLAG_ZSTD: u8 = 1;
const FLAG_LAST: u8 = 2;

/// Whose content it is: a call's id, or an event's own random id.
pub(super) type ContentId = [u8; 16];

/// Which part of a call's or an event's content a sealed frame holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Part {
    /// Not sealed: what the content's key is made of ([`KeyParts`]).
    Key,
    /// What is known when the call begins: principal, request head, policy request (JSON).
    Context,
    /// The request's body.
    Request,
    /// The released body.
    Released,
    /// What is known when it ends: released head and trailers (JSON).
    Ending,
    /// Fields that were too long for the begin record, or the event's (JSON).
    MovedBegin,
    /// Fields that were too long for the end record (JSON).
    MovedEnd,
    /// When parts of the released body were released.
    Times,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Key,
        Self::Context,
        Self::Request,
        Self::Released,
        Self::Ending,
        Self::MovedBegin,
        Self::MovedEnd,
        Self::Times,
    ];

    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Key => 0,
            Self::Context => 1,
            Self::Request => 2,
            Self::Released => 3,
            Self::Ending => 4,
            Self::MovedBegin => 5,
            Self::MovedEnd => 6,
            Self::Times => 7,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.byte() == byte)
    }
}

/// What a commitment is over; the word makes its salt differ from the others of the same call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    RequestHead,
    RequestBody,
    Context,
    ReleasedHead,
    ReleasedBody,
    ReleasedTrailers,
}

impl Field {
    pub(super) const ALL: [Self; 6] = [
        Self::RequestHead,
        Self::RequestBody,
        Self::Context,
        Self::ReleasedHead,
        Self::ReleasedBody,
        Self::ReleasedTrailers,
    ];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::RequestHead => "request.head",
            Self::RequestBody => "request.body",
            Self::Context => "context",
            Self::ReleasedHead => "released.head",
            Self::ReleasedBody => "released.body",
            Self::ReleasedTrailers => "released.trailers",
        }
    }
}

/// 32 random bytes.
///
/// # Errors
/// [`Error::Crypto`] when the system gives none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::Crypto)?;
    Ok(bytes)
}

/// Derive 32 bytes for one purpose.
pub(super) fn derive(salt: &[u8], material: &[u8], purpose: &[&[u8]]) -> Result<[u8; 32], Error> {
    let mut out = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(material)
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| Error::Crypto)?;
    Ok(out)
}

pub(super) fn aes(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Crypto)?;
    Ok(LessSafeKey::new(key))
}

pub(super) fn hmac_sha256(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// SHA-256 as 32 bytes.
pub(super) fn finish(context: digest::Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// What a [`Part::Key`] frame says of the content's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyParts {
    pub(super) salt: [u8; 32],
    /// The subject's pseudonym.
    pub(super) reference: [u8; REFERENCE_BYTES],
    /// The day that it was made on, counted from 1970.
    pub(super) day: u64,
    /// SHA-256 of the key that seals.
    check: [u8; 32],
}

impl KeyParts {
    /// Out of the payload of a [`Part::Key`] frame.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let rest = payload.get(SEALED_HEADER_BYTES..)?;
        let (salt, rest) = rest.split_first_chunk::<32>()?;
        let (reference, rest) = rest.split_first_chunk::<REFERENCE_BYTES>()?;
        let (day, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            salt: *salt,
            reference: *reference,
            day: u64::from_le_bytes(*day),
            check: rest.try_into().ok()?,
        })
    }

    /// Whether this is the key that sealed: a frame can be made that opens under two.
    pub(super) fn fits(&self, seal: &[u8; 32]) -> bool {
        digest::digest(&SHA256, seal).as_ref() == self.check
    }
}

/// What the keys of one subject's contents of one day are made of.
#[derive(Clone, Debug)]
pub(super) struct Material {
    pub(super) reference: [u8; REFERENCE_BYTES],
    pub(super) day: u64,
    pub(super) key: Secret<[u8; 32]>,
}

/// The key of one call's, or one event's, content.
pub(super) struct ContentKey {
    id: ContentId,
    parts: KeyParts,
    seal: LessSafeKey,
    commit: hmac::Key,
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(…)")
    }
}

impl ContentKey {
    /// A fresh key for content `id`.
    pub(super) fn new(id: ContentId, material: &Material) -> Result<Self, Error> {
        Self::of_salt(id, material, random()?)
    }

    fn of_salt(id: ContentId, material: &Material, salt: [u8; 32]) -> Result<Self, Error> {
        let (seal, commit) = keys(&id, &salt, &material.key)?;
        let mut check = [0; 32];
        check.copy_from_slice(digest::digest(&SHA256, seal.expose()).as_ref());
        Ok(Self {
            id,
            parts: KeyParts {
                salt,
                reference: material.reference,
                day: material.day,
                check,
            },
            seal: aes(seal.expose())?,
            commit: hmac::Key::new(hmac::HMAC_SHA256, commit.expose()),
        })
    }

    /// The key again, from what its [`Part::Key`] frame says.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the content was sealed with another key than comes out.
    pub(super) fn derive(
        id: ContentId,
        parts: &KeyParts,
        material: &Secret<[u8; 32]>,
    ) -> Result<Self, Error> {
        let material = Material {
            reference: parts.reference,
            day: parts.day,
            key: material.clone(),
        };
        let key = Self::of_salt(id, &material, parts.salt)?;
        if key.parts == *parts {
            Ok(key)
        } else {
            Err(Error::Crypto)
        }
    }

    pub(super) const fn id(&self) -> ContentId {
        self.id
    }

    pub(super) const fn reference(&self) -> [u8; REFERENCE_BYTES] {
        self.parts.reference
    }

    /// The payload of this key's [`Part::Key`] frame.
    pub(super) fn key_payload(&self) -> Vec<u8> {
        let mut payload = header(self.id, Part::Key, 0, 0).to_vec();
        payload.extend_from_slice(&self.parts.salt);
        payload.extend_from_slice(&self.parts.reference);
        payload.extend_from_slice(&self.parts.day.to_le_bytes());
        payload.extend_from_slice(&self.parts.check);
        payload
    }

    /// A commitment that bytes are still to be added to.
    pub(super) fn commitment(&self, field: Field) -> digest::Context {
        let mut context = digest::Context::new(&SHA256);
        context.update(&self.field_salt(field));
        context
    }

    /// What a field's commitment begins with: given away, it discloses that field and no other.
    pub(super) fn field_salt(&self, field: Field) -> [u8; 32] {
        hmac_sha256(&self.commit, &[field.word().as_bytes()])
    }

    /// The commitment to `bytes`: `SHA-256(salt of the field ‖ bytes)`.
    pub(super) fn commit(&self, field: Field, bytes: &[u8]) -> [u8; 32] {
        let mut context = self.commitment(field);
        context.update(bytes);
        finish(context)
    }

    fn nonce(part: Part, piece: u32) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        if let Some(slot) = nonce.first_mut() {
            *slot = part.byte();
        }
        if let Some(slot) = nonce.get_mut(8..12) {
            slot.copy_from_slice(&piece.to_be_bytes());
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// The payload of a sealed frame that holds `bytes` (at most [`PIECE_BYTES`]).
    ///
    /// A pair of part and piece number is used once in a key's life: the pair is the nonce.
    pub(super) fn seal(
        &self,
        zstd: &mut zstd::bulk::Compressor<'static>,
        part: Part,
        piece: u32,
        last: bool,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let packed = zstd.compress(bytes).ok().filter(|p| p.len() < bytes.len());
        let flags = if packed.is_some() { FLAG_ZSTD } else { 0 } | if last { FLAG_LAST } else { 0 };
        let plain = packed.as_deref().unwrap_or(bytes);
        let header = header(self.id, part, flags, piece);
        let mut payload = Vec::with_capacity(header.len() + plain.len() + AES_256_GCM.tag_len());
        payload.extend_from_slice(&header);
        payload.extend_from_slice(plain);
        let sealed = payload
            .get_mut(SEALED_HEADER_BYTES..)
            .ok_or(Error::Crypto)?;
        let tag = self
            .seal
            .seal_in_place_separate_tag(Self::nonce(part, piece), Aad::from(header), sealed)
            .map_err(|_| Error::Crypto)?;
        payload.extend_from_slice(tag.as_ref());
        Ok(payload)
    }

    /// What a sealed frame's payload holds; `None` when it does not open under this key.
    pub(super) fn open(&self, payload: &[u8]) -> Option<Vec<u8>> {
        open(&self.seal, payload)
    }
}

/// One of the two keys of one content.
fn expand(material: &hkdf::Prk, purpose: &[u8], id: &ContentId) -> Result<Secret<[u8; 32]>, Error> {
    let mut out = [0; 32];
    material
        .expand(&[purpose, id], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| Error::Crypto)?;
    Ok(Secret::new(out))
}

/// The two keys of one content: to seal, and to commit.
#[expect(clippy::type_complexity, reason = "a pair of the same")]
fn keys(
    id: &ContentId,
    salt: &[u8; 32],
    material: &Secret<[u8; 32]>,
) -> Result<(Secret<[u8; 32]>, Secret<[u8; 32]>), Error> {
    let material = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(material.expose());
    Ok((
        expand(&material, b"callgate/v1 seal ", id)?,
        expand(&material, b"callgate/v1 commit ", id)?,
    ))
}

/// The key that one content is sealed with: given away, it opens that content and nothing else of its
/// subject.
pub(super) fn seal_key(
    id: &ContentId,
    salt: &[u8; 32],
    material: &Secret<[u8; 32]>,
) -> Result<Secret<[u8; 32]>, Error> {
    keys(id, salt, material).map(|(seal, _)| seal)
}

/// What a sealed frame's payload holds; `None` when it does not open under this key.
pub(super) fn open(seal: &LessSafeKey, payload: &[u8]) -> Option<Vec<u8>> {
    let head = SealedHead::parse(payload)?;
    let (header, sealed) = payload.split_at_checked(SEALED_HEADER_BYTES)?;
    let mut sealed = sealed.to_vec();
    let nonce = ContentKey::nonce(head.part, head.piece);
    let plain = seal
        .open_in_place(nonce, Aad::from(header), &mut sealed)
        .ok()?;
    if head.zstd {
        decompress(plain)
    } else {
        Some(plain.to_vec())
    }
}

/// A piece as it was. Each thread keeps what it decompresses with: to make one costs more than most pieces do.
fn decompress(packed: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static ZSTD: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            const { std::cell::RefCell::new(None) };
    }
    ZSTD.with_borrow_mut(|kept| {
        let zstd = match kept {
            Some(zstd) => zstd,
            None => kept.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        zstd.decompress(packed, PIECE_BYTES).ok()
    })
}

/// A compressor for [`ContentKey::seal`].
pub(super) fn compressor() -> Result<zstd::bulk::Compressor<'static>, Error> {
    zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| Error::Crypto)
}

fn header(id: ContentId, part: Part, flags: u8, piece: u32) -> [u8; SEALED_HEADER_BYTES] {
    let mut header = [0; SEALED_HEADER_BYTES];
    let (to_id, rest) = header.split_at_mut(16);
    to_id.copy_from_slice(&id);
    if let [to_part, to_flags, _, _, to_piece @ ..] = rest {
        *to_part = part.byte();
        *to_flags = flags;
        to_piece.copy_from_slice(&piece.to_le_bytes());
    }
    header
}

/// What a sealed frame says in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SealedHead {
    pub(super) id: ContentId,
    pub(super) part: Part,
    pub(super) piece: u32,
    pub(super) last: bool,
    zstd: bool,
}

impl SealedHead {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (id, rest) = payload.split_first_chunk::<16>()?;
        let [part, flags, 0, 0, ..] = rest else {
            return None;
        };
        Some(Self {
            id: *id,
            part: Part::from_byte(*part)?,
            piece: le32(payload, 20)?,
            last: flags & FLAG_LAST != 0,
            zstd: flags & FLAG_ZSTD != 0,
        })
    }
}

/// The payload of a progress frame: content id (16), part (1), zeroes (7), bytes so far (8), commitment.
pub(super) fn progress_payload(
    id: ContentId,
    part: Part,
    bytes: u64,
    commitment: &[u8; 32],
) -> Vec<u8> {
    let mut payload = id.to_vec();
    payload.extend_from_slice(&[part.byte(), 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&bytes.to_le_bytes());
    payload.extend_from_slice(commitment);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: u8) -> ContentKey {
        let material = Material {
            reference: [2; 16],
            day: 20_000,
            key: Secret::new([subject; 32]),
        };
        ContentKey::of_salt([1; 16], &material, [3; 32]).unwrap()
    }

    #[test]
    fn sealed_piece_opens_only_under_its_key_and_unchanged() {
        let mut zstd = compressor().unwrap();
        for bytes in [vec![], b"abc".to_vec(), vec![b'x'; PIECE_BYTES]] {
            let sealed = key(1)
                .seal(&mut zstd, Part::Request, 5, true, &bytes)
                .unwrap();
            assert_eq!(key(1).open(&sealed).unwrap(), bytes);
            assert!(key(2).open(&sealed).is_none());
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert!(key(1).open(&bad).is_none(), "byte {at}");
            }
        }
    }

    #[test]
    fn commitments_differ_by_field_and_by_subject() {
        let one = key(1).commit(Field::RequestBody, b"x");
        assert_eq!(one, key(1).commit(Field::RequestBody, b"x"));
        assert_ne!(one, key(1).commit(Field::ReleasedBody, b"x"));
        assert_ne!(one, key(2).commit(Field::RequestBody, b"x"));
    }

    #[test]
    fn key_frame_says_what_the_key_is_made_of_and_which_key_it_is() {
        let payload = key(1).key_payload();
        assert_eq!(SealedHead::parse(&payload).unwrap().part, Part::Key);
        let parts = KeyParts::parse(&payload).unwrap();
        assert_eq!(
            (parts.salt, parts.reference, parts.day),
            ([3; 32], [2; 16], 20_000)
        );
        let subject = |byte| Secret::new([byte; 32]);
        assert!(ContentKey::derive([1; 16], &parts, &subject(1)).is_ok());
        assert!(ContentKey::derive([1; 16], &parts, &subject(2)).is_err());
        let seal = |byte| {
            *seal_key(&[1; 16], &parts.salt, &subject(byte))
                .unwrap()
                .expose()
        };
        assert!(parts.fits(&seal(1)) && !parts.fits(&seal(2)));
        assert!(KeyParts::parse(&payload[..payload.len() - 1]).is_none());
    }
}

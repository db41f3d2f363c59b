//! Where the value that is read now stands: its name, and in JSON the names around it.

/// Longest name of a member, column, field or element that is kept with what was found there.
const NAME_BYTES_MAX: usize = 40;
/// Longest path that is kept; of a longer one only the last name is.
const PATH_BYTES_MAX: usize = 200;

/// One name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl Name {
    const NONE: Self = Self {
        bytes: [0; NAME_BYTES_MAX],
        length: 0,
    };

    /// Keeps a name that is short enough. Most are: those of up to sixteen bytes are copied by their ends, which
    /// overlap, as this is done for every name of every answer.
    fn keep(&mut self, name: &[u8]) {
        let length = name.len();
        self.length = if length <= NAME_BYTES_MAX { length } else { 0 };
        let bytes = &mut self.bytes;
        match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) if length <= 16 => {
                bytes[..8].copy_from_slice(first);
                bytes[length - 8..length].copy_from_slice(last);
            }
            _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
                (Some(first), Some(last)) if length < 8 => {
                    bytes[..4].copy_from_slice(first);
                    bytes[length - 4..length].copy_from_slice(last);
                }
                _ => {
                    let name = name.get(..self.length).unwrap_or_default();
                    for (kept, byte) in bytes.iter_mut().zip(name) {
                        *kept = *byte;
                    }
                }
            },
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The name, if it is a plain word: others may be data themselves.
    fn plain(&self) -> Option<&str> {
        let name = self.bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
        (self.length > 0 && digits <= 4 && name.iter().all(word))
            .then(|| std::str::from_utf8(name).ok())?
    }

    /// Appends the step of a JSONPath to this member.
    fn step(&self, path: &mut String) {
        let Some(name) = self.plain() else {
            return path.push_str(".*");
        };
        let short = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if short && !name.starts_with(|first: char| first.is_ascii_digit()) {
            path.push('.');
            path.push_str(name);
        } else {
            path.push_str("['");
            path.push_str(name);
            path.push_str("']");
        }
    }
}

/// An open object or list, and its name.
#[derive(Clone, Copy, Debug)]
struct Container {
    name: Name,
    list: bool,
}

/// Where the value that is read now stands.
#[derive(Debug)]
pub(super) struct Whereabouts {
    name: Name,
    open: Vec<Container>,
}

impl Whereabouts {
    pub(super) const fn new() -> Self {
        Self {
            name: Name::NONE,
            open: Vec::new(),
        }
    }

    /// What is read next has this name.
    pub(super) fn named(&mut self, name: &[u8]) {
        self.name.keep(name);
    }

    /// What is read next has no name.
    pub(super) fn forget(&mut self) {
        self.name.length = 0;
    }

    /// An object or list of JSON begins.
    pub(super) fn open(&mut self, list: bool) {
        let name = self.name;
        self.open.push(Container { name, list });
    }

    /// The innermost one ends.
    pub(super) fn close(&mut self) {
        self.open.pop();
        self.forget();
    }

    /// The document ends.
    pub(super) fn leave(&mut self) {
        self.open.clear();
        self.forget();
    }

    /// The name as it is, to be shown to whoever asked for it.
    pub(super) fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    /// Where a finding stands: a JSONPath in JSON, a name elsewhere; `None` if its own name may be data.
    pub(super) fn place(&self) -> Option<String> {
        let Some(innermost) = self.open.last() else {
            return self.name.plain().map(str::to_owned);
        };
        if !innermost.list {
            self.name.plain()?;
        }
        let mut path = String::from("$");
        for (around, container) in self.open.iter().zip(self.open.iter().skip(1)) {
            match around.list {
                true => path.push_str("[*]"),
                false => container.name.step(&mut path),
            }
        }
        match innermost.list {
            true => path.push_str("[*]"),
            false => self.name.step(&mut path),
        }
        if path.len() > PATH_BYTES_MAX {
            return self.name.plain().map(str::to_owned);
        }
        Some(path)
    }
}

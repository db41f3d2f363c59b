//! Detectors: what a piece of decoded text holds, by value.
//!
//! Every detector sees whole text (a JSON string, a header value, a stretch of lines cut where no
//! value can lie) and answers with byte spans. None of them takes more than linear time, none
//! allocates unless it finds something.

pub(super) mod contact;
pub(super) mod context;
pub(super) mod digits;
mod forms;
mod links;
mod marks;
mod network;
mod numbers;
mod phones;
mod places;
mod proof;
mod rules;
pub(super) mod secrets;
mod values;
pub(super) mod wallets;
mod words;

pub(super) use proof::{proof, told_by_name};

use super::config::ClassId;
use super::own::OwnDetectors;
use super::view;
use context::Context;
use digits::Digits;
pub(super) use digits::is_iban;
use marks::Marks;
use secrets::Secrets;
use wallets::Wallets;
use words::Words;

/// Shorter text holds nothing that any detector looks for (`a@b.cd` is six bytes).
const TEXT_BYTES_MIN: usize = 6;

/// Shortest number that is looked at (`4e15` aside, a card has at least twelve digits).
pub(super) const NUMBER_BYTES_MIN: usize = 9;

/// How often what lies between findings is searched again.
const ROUNDS_MAX: usize = 8;

/// A span of text that holds a class of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    /// First byte.
    pub(super) start: usize,
    /// One past the last byte.
    pub(super) end: usize,
    /// What it is.
    pub(super) class: ClassId,
}

impl Hit {
    /// The same span in a text that starts `by` bytes earlier.
    fn moved(&self, by: usize) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
            class: self.class,
        }
    }

    /// The span in the source of `view` that this span of its text came from.
    pub(super) fn in_source(&self, view: &view::View) -> Self {
        let (start, end) = view.source(self.start, self.end);
        Self {
            start,
            end,
            class: self.class,
        }
    }
}

/// The detectors of one [`Settings`](super::Settings).
#[derive(Debug)]
pub(super) struct Detectors {
    secrets: Option<Secrets>,
    digits: Digits,
    email: Option<ClassId>,
    phone: Option<ClassId>,
    ip: Option<ClassId>,
    hardware: Option<ClassId>,
    words: Option<Words>,
    wallets: Option<Wallets>,
    address: Option<ClassId>,
    own: OwnDetectors,
    /// What only its name tells.
    pub(super) context: Option<Context>,
}

impl Detectors {
    /// Builds what is switched on: `number` gives the id of a class, `None` if it is off.
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>, own: OwnDetectors) -> Self {
        Self {
            own,
            secrets: Secrets::new(number),
            digits: Digits::new(number),
            email: number("email"),
            phone: number("phone"),
            ip: number("ip-address"),
            hardware: number("hardware-address"),
            wallets: Wallets::new(number),
            address: number("postal-address"),
            context: Context::new(number),
            words: Words::new(number),
        }
    }

    /// Finds everything in `text`, as it stands and decoded one level more (escapes, base64, hex).
    /// Spans are in order and apart from each other; those that `covers` rejects are left out before
    /// they can hide others.
    pub(super) fn inspect(
        &self,
        text: &[u8],
        covers: impl Fn(ClassId) -> bool,
        hits: &mut Vec<Hit>,
    ) {
        self.inspect_once(text, &covers, hits);
        let mut more = Vec::new();
        let mut fresh = !hits.is_empty();
        // A marker ends what stood beside the value that it replaces, which may then be a value of its
        // own: masking again would find it, so it is found now.
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut fresh) {
                break;
            }
            let mut found = Vec::new();
            for (start, end) in beside(text, hits) {
                let near = text.get(start..end).unwrap_or_default();
                self.inspect_once(near, &covers, &mut more);
                found.extend(more.iter().map(|hit| hit.moved(start)));
            }
            if !found.is_empty() {
                fresh = true;
                hits.append(&mut found);
                hits.sort_unstable_by_key(|hit| hit.start);
            }
        }
    }

    fn inspect_once(&self, text: &[u8], covers: &impl Fn(ClassId) -> bool, hits: &mut Vec<Hit>) {
        hits.clear();
        if text.len() < TEXT_BYTES_MIN && self.own.is_empty() {
            return;
        }
        let marks = Marks::of(text);
        self.scan(text, marks, hits);
        if marks.escape()
            && let Some(view) = view::unescape(text)
        {
            let mut found = Vec::new();
            self.scan(view.text(), Marks::of(view.text()), &mut found);
            hits.extend(found.iter().map(|hit| hit.in_source(&view)));
        }
        if marks.run() {
            view::encoded_runs(text, &mut |start, end, decoded| {
                let mut found = Vec::new();
                self.scan(decoded, Marks::of(decoded), &mut found);
                if let Some(hit) = found.iter().find(|hit| covers(hit.class)) {
                    hits.push(Hit {
                        start,
                        end,
                        class: hit.class,
                    });
                }
            });
        }
        if !hits.is_empty() {
            hits.retain(|hit| covers(hit.class));
            merge(hits);
        }
    }

    /// Finds what stands in `text` as it is.
    fn scan(&self, text: &[u8], marks: Marks, hits: &mut Vec<Hit>) {
        if marks.at()
            && let Some(class) = self.email
        {
            contact::emails(text, class, hits);
        }
        if marks.digit() {
            self.digits.scan(text, hits);
            if let Some(words) = &self.words {
                words.scan(text, hits);
            }
            if let Some(class) = self.phone {
                phones::find(text, class, hits);
            }
            if let Some(class) = self.address {
                places::find(text, class, hits);
            }
        }
        if marks.run()
            && let Some(wallets) = &self.wallets
        {
            wallets.scan(text, hits);
        }
        if let Some(context) = &self.context {
            context.scan(text, hits);
        }
        if !self.own.is_empty() {
            self.own.scan(text, hits);
        }
        if self.ip.is_some() || self.hardware.is_some() {
            network::addresses(text, self.ip, self.hardware, hits);
        }
        if let Some(secrets) = &self.secrets
            && (marks.run() || marks.scheme() || marks.at())
        {
            secrets.scan(text, hits);
        }
    }

    /// Finds a number's value: `digits` is its integer part in plain notation.
    pub(super) fn inspect_number(&self, digits: &[u8], hits: &mut Vec<Hit>) {
        hits.clear();
        self.digits.scan(digits, hits);
        self.own.scan(digits, hits);
    }

    /// How a finding is encoded in its span, if it is.
    pub(super) fn encoding(&self, span: &[u8]) -> Option<&'static str> {
        let found = |text: &[u8]| {
            let mut hits = Vec::new();
            self.scan(text, Marks::of(text), &mut hits);
            !hits.is_empty()
        };
        if found(span) {
            return None;
        }
        if view::unescape(span).is_some_and(|view| found(view.text())) {
            return Some("behind escapes");
        }
        let mut runs = false;
        view::encoded_runs(span, &mut |_, _, decoded| runs |= found(decoded));
        runs.then_some("inside base64 or hexadecimal")
    }

    /// The first byte of what may still grow with the text that follows, if there is such: a
    /// private key whose end is not there yet.
    pub(super) fn unfinished(&self, text: &[u8]) -> Option<usize> {
        self.secrets
            .as_ref()
            .and_then(|_| secrets::unfinished_key(text))
    }
}

/// The classes of identifiers, each once.
pub(super) fn identifiers() -> impl Iterator<Item = &'static str> {
    let words = words::RULES.iter().enumerate().filter_map(|(at, rule)| {
        let first = words::RULES
            .iter()
            .position(|other| other.class == rule.class);
        (first == Some(at)).then_some(rule.class)
    });
    numbers::RULES
        .iter()
        .map(|rule| rule.class)
        .chain(words)
        .chain(
            forms::RULES
                .iter()
                .map(|rule| rule.class)
                .filter(|class| *class != "uk-nino"),
        )
}

/// The classes that only a name tells, those of secrets' table aside.
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    context::RULES
        .iter()
        .map(|rule| rule.class)
        .filter(|class| !matches!(*class, "secret.aws-key" | "phone"))
        .filter(|class| !identifiers().any(|known| known == *class))
}

/// What lies between findings and on the same line as one of them: beside a new marker.
fn beside(text: &[u8], hits: &[Hit]) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for hit in hits {
        let ahead = text.get(from..hit.start).unwrap_or_default();
        match memchr::memrchr(b'\n', ahead) {
            // Beside this finding only, and what is beside the one before ends at its line's end.
            Some(line) => {
                if from > 0 {
                    let end = memchr::memchr(b'\n', ahead).unwrap_or(line);
                    pieces.push((from, from + end));
                }
                pieces.push((from + line + 1, hit.start));
            }
            None => pieces.push((from, hit.start)),
        }
        from = hit.end;
    }
    let rest = text.get(from..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    pieces.push((from, from + end));
    pieces
}

/// Sorts spans and joins those that overlap; the class of the first (of the longest, if several
/// start together) remains.
pub(super) fn merge(hits: &mut Vec<Hit>) {
    hits.sort_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut kept = 0;
    for at in 0..hits.len() {
        let hit = hits[at];
        if kept > 0 && hit.start < hits[kept - 1].end {
            let last = &mut hits[kept - 1];
            last.end = last.end.max(hit.end);
        } else {
            hits[kept] = hit;
            kept += 1;
        }
    }
    hits.truncate(kept);
}

/// Whether the byte can be part of a word, for the question whether a value starts or ends here.
fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether two upper-case letters are a country's code (ISO 3166-1, and XK).
fn is_country(code: &[u8]) -> bool {
    COUNTRIES
        .as_bytes()
        .chunks(3)
        .any(|known| known.get(..2) == Some(code))
}

const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL \
    BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK \
    DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU \
    GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ \
    LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY \
    MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU \
    RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW ";

fn before(text: &[u8], at: usize) -> Option<&u8> {
    at.checked_sub(1).and_then(|at| text.get(at))
}

#[cfg(test)]
pub(in crate::mask) mod tests;

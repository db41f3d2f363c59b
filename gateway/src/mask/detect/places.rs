//! Street addresses: a house number and a street by its kind, in English, German, Dutch, French and
//! Spanish order.

use super::super::config::ClassId;
use super::digits::next_digit;
use super::{Hit, before, is_word};

/// Kinds of street behind the name, as English writes them (USPS Publication 28, appendix C1).
#[rustfmt::skip]
const KINDS: &[&str] = &[
    "alley", "avenue", "branch", "bridge", "brook", "brooks", "burg", "bypass", "camp", "canyon",
    "cape", "causeway", "center", "circle", "circles", "cliff", "cliffs", "corner", "corners",
    "course", "court", "courts", "cove", "coves", "creek", "crescent", "crest", "crossing",
    "crossroad", "curve", "dale", "divide", "drive", "drives", "estate", "estates", "expressway",
    "extension", "extensions", "falls", "ferry", "field", "fields", "flat", "flats", "ford",
    "forest", "forge", "fork", "forks", "fort", "freeway", "garden", "gardens", "gateway",
    "glen", "glens", "green", "greens", "grove", "groves", "harbor", "harbors", "haven",
    "heights", "highway", "hill", "hills", "hollow", "inlet", "island", "islands", "isle",
    "junction", "junctions", "knoll", "knolls", "lake", "lakes", "land", "landing", "lane",
    "lights", "loaf", "lock", "locks", "lodge", "loop", "mall", "manor", "manors", "meadow",
    "meadows", "mews", "mill", "mills", "mission", "motorway", "mount", "mountain", "mountains",
    "neck", "orchard", "oval", "overpass", "park", "parks", "parkway", "parkways", "passage",
    "path", "pike", "pine", "pines", "place", "plain", "plains", "plaza", "port", "ports",
    "prairie", "radial", "ramp", "ranch", "rapids", "rest", "ridge", "ridges", "river", "road",
    "roads", "route", "row", "rue", "run", "shoal", "shoals", "shore", "shores", "skyway",
    "spring", "springs", "spur", "spurs", "square", "squares", "station", "stravenue", "stream",
    "street", "streets", "summit", "terrace", "throughway", "trace", "track", "trafficway",
    "trail", "tunnel", "turnpike", "underpass", "union", "unions", "valley", "valleys", "via",
    "viaduct", "view", "views", "village", "villages", "ville", "vista", "walk", "walks", "wall",
    "way", "ways", "well", "wells", "close", "st", "ave", "rd", "blvd", "boulevard", "ln", "dr",
    "ct", "pl", "hwy", "pkwy", "cir", "sq",
];
/// What stands before the number of a flat.
const UNITS: &[&[u8]] = &[b" Suite ", b" Apt. ", b" Apt ", b" Unit ", b" Flat ", b" #"];
/// Endings of a street's name in German and Dutch, where the house number follows.
const ENDINGS: &[&[u8]] = &[
    "stra\u{df}e".as_bytes(),
    b"strasse",
    b"str.",
    b"weg",
    b"platz",
    b"allee",
    b"gasse",
    b"ufer",
    b"straat",
    b"laan",
    b"plein",
    b"gracht",
    b"kade",
    b"singel",
];
/// Kinds of street before the name, in Romance languages.
const LEADS: &[&[u8]] = &[
    b"rue ",
    b"avenue ",
    b"boulevard ",
    b"place ",
    b"chemin ",
    b"impasse ",
    b"quai ",
];
/// Kinds before the name, with the number behind it; they begin with A, C, P or V.
const LEADS_NUMBER_LAST: &[&[u8]] = &[
    b"calle ",
    b"avenida ",
    b"paseo ",
    b"plaza ",
    b"via ",
    b"viale ",
    b"piazza ",
    b"corso ",
];

/// Most digits of a house number.
const NUMBER_DIGITS_MAX: usize = 5;
/// Most words of a street's name.
const WORDS_MAX: usize = 5;
/// Longest name of a street, in bytes.
const NAME_BYTES_MAX: usize = 60;

/// Finds street addresses.
pub(super) fn find(text: &[u8], class: ClassId, hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(start) = next_digit(text, at) {
        let length = digits(text, start);
        at = start + length;
        let glued = is_word(before(text, start))
            || matches!(
                before(text, start),
                Some(b'-' | b'.' | b'/' | b':' | b'$' | b'#')
            );
        if length > NUMBER_DIGITS_MAX || glued {
            continue;
        }
        let letter = usize::from(
            text.get(at).is_some_and(u8::is_ascii_alphabetic) && !is_word(text.get(at + 1)),
        );
        let end = at + letter;
        if let Some(end) = street_behind(text, end) {
            at = end;
            hits.push(Hit { start, end, class });
        } else if let Some(start) = street_before(text, start)
            && !is_word(text.get(end))
            && !matches!(text.get(end), Some(b'-' | b'/' | b'%' | b':'))
        {
            hits.push(Hit { start, end, class });
        }
    }
}

fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The end of ` Baker Street` or ` rue de Rivoli` from the blank at `at`.
fn street_behind(text: &[u8], at: usize) -> Option<usize> {
    let limit = text.len().min(at + NAME_BYTES_MAX);
    let near = text.get(at..limit)?.strip_prefix(b" ")?;
    for lead in LEADS {
        if near
            .get(..lead.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(lead))
        {
            let name = words(near.get(lead.len()..)?);
            return (name > 0).then_some(at + 1 + lead.len() + name);
        }
    }
    let mut from = 0;
    for place in 0..WORDS_MAX {
        let word = near.get(from..)?;
        let length = word.iter().take_while(|byte| is_name(**byte)).count();
        let word = word.get(..length)?;
        if place > 0
            && KINDS
                .iter()
                .any(|kind| word.eq_ignore_ascii_case(kind.as_bytes()))
        {
            let kind = word.first()?.is_ascii_uppercase();
            return kind.then(|| unit(text, at + 1 + from + length));
        }
        let proper = word
            .first()
            .is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b >= 0x80);
        if !proper {
            return None;
        }
        from += length;
        from += usize::from(near.get(from) == Some(&b'.'));
        if near.get(from) != Some(&b' ') {
            return None;
        }
        from += 1;
    }
    None
}

/// The end of ` Suite 269` behind a street.
fn unit(text: &[u8], end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    let Some(word) = UNITS.iter().find(|word| rest.starts_with(word)) else {
        return end;
    };
    let number = digits(text, end + word.len());
    if number == 0 || number > NUMBER_DIGITS_MAX {
        return end;
    }
    let letter = text.get(end + word.len() + number);
    end + word.len() + number + usize::from(letter.is_some_and(u8::is_ascii_alphabetic))
}

/// Up to four words of a street's name; the last begins with a capital.
fn words(near: &[u8]) -> usize {
    let mut end = 0;
    let mut at = 0;
    for _ in 0..4 {
        let rest = near.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_name(**byte)).count();
        let Some(first) = rest.first().filter(|_| length > 0) else {
            break;
        };
        let particle = [
            &b"de"[..],
            b"du",
            b"des",
            b"la",
            b"le",
            b"del",
            b"di",
            b"della",
        ]
        .iter()
        .any(|known| {
            rest.get(..length)
                .is_some_and(|w| w.eq_ignore_ascii_case(known))
        });
        if !(particle || first.is_ascii_uppercase() || *first >= 0x80) {
            break;
        }
        if !particle {
            end = at + length;
        }
        at += length;
        if near.get(at) != Some(&b' ') {
            break;
        }
        at += 1;
    }
    end
}

/// Where the street starts that the house number at `number` belongs to: `Hauptstra\u{df}e 12`,
/// `Calle Mayor 3`.
fn street_before(text: &[u8], number: usize) -> Option<usize> {
    let floor = number.saturating_sub(NAME_BYTES_MAX);
    let near = text.get(floor..number)?.strip_suffix(b" ")?;
    let length = near
        .iter()
        .rev()
        .take_while(|byte| is_name(**byte) || **byte == b'.')
        .count();
    let word = near.get(near.len() - length..)?;
    let fits = |ending: &[u8]| {
        word.len() >= ending.len() + 3
            && word
                .get(word.len() - ending.len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    let capital = word.first().is_some_and(u8::is_ascii_uppercase);
    if capital && ENDINGS.iter().any(|ending| fits(ending)) {
        return Some(floor + near.len() - length);
    }
    let begins = |at: &usize| {
        let capital = matches!(near.get(*at), Some(b'A' | b'C' | b'P' | b'V'));
        capital && !is_word(before(near, *at))
    };
    // From the nearest word on that can be such a kind.
    let start = (0..near.len()).rev().filter(begins).find(|at| {
        let rest = near.get(*at..).unwrap_or_default();
        LEADS_NUMBER_LAST.iter().any(|lead| {
            let name = rest.get(lead.len()..).unwrap_or_default();
            let kind = rest.get(..lead.len());
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case(lead)) && words(name) == name.len()
        })
    })?;
    Some(floor + start)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'\'' | b'-')
}

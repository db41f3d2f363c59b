//! Whether votes open rules: people are counted, not accounts and not groups.
//!
//! Two votes are of one person when they come from one principal or carry the same person claim, over
//! any number of steps. A rule is opened when for one of its alternatives every leg has its quorum, and
//! nobody counts for two legs of it (a matching, not a count a leg).

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::policy::{RuleHash, RuleTerms, Terms};

use super::VoterSnapshot;

/// A yes that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Yes {
    /// For which rule.
    pub(super) rule: RuleHash,
    /// The voter: issuer alias and subject.
    pub(super) voter: (String, String),
    /// The voter's person claim.
    pub(super) handle: Option<String>,
    /// The groups by which the voter is named in the rule.
    pub(super) groups: Vec<String>,
    /// The voter as verified for the vote; `None` in votes of older versions.
    pub(super) snapshot: Option<VoterSnapshot>,
    /// The grant that it comes from.
    pub(super) grant: Option<String>,
    /// When the voter, who asked, broke the glass.
    pub(super) glass: Option<Timestamp>,
}

/// The rules that are opened at this time.
pub(super) fn opened(terms: &Terms, votes: &[Yes], now: Timestamp) -> Vec<RuleHash> {
    let people = people(votes);
    terms
        .rules
        .iter()
        .filter(|rule| {
            opens(rule, votes, &people) || votes.iter().any(|yes| breaks(rule, yes, now))
        })
        .map(|rule| rule.hash)
        .collect()
}

/// Whether all rules are opened at this time. Terms without a rule are never opened.
pub(super) fn all_open(terms: &Terms, votes: &[Yes], now: Timestamp) -> bool {
    !terms.rules.is_empty() && opened(terms, votes, now).len() == terms.rules.len()
}

/// Whether this is a broken glass that stands: it opens its rule alone, for a short time.
fn breaks(rule: &RuleTerms, yes: &Yes, now: Timestamp) -> bool {
    match (yes.glass, &rule.break_glass) {
        (Some(at), Some(glass)) => yes.rule == rule.hash && now < at.plus(glass.within),
        (_, _) => false,
    }
}

/// For each vote the number of its person.
fn people(votes: &[Yes]) -> Vec<usize> {
    let mut person: Vec<usize> = (0..votes.len()).collect();
    let mut merged = true;
    while merged {
        merged = false;
        for (a, one) in votes.iter().enumerate() {
            for (b, other) in votes.iter().enumerate().skip(a + 1) {
                let same = one.voter == other.voter
                    || (one.handle.is_some() && one.handle == other.handle);
                if same && person[a] != person[b] {
                    let lower = person[a].min(person[b]);
                    person[a] = lower;
                    person[b] = lower;
                    merged = true;
                }
            }
        }
    }
    person
}

fn opens(rule: &RuleTerms, votes: &[Yes], people: &[usize]) -> bool {
    let mut groups: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (vote, person) in votes.iter().zip(people) {
        // Who asked is nobody's second pair of eyes.
        if vote.rule == rule.hash && vote.glass.is_none() {
            let of = groups.entry(*person).or_default();
            of.extend(vote.groups.iter().map(String::as_str));
        }
    }
    let people: Vec<Vec<&str>> = groups.into_values().collect();
    let quorum = usize::try_from(rule.quorum.max(1)).unwrap_or(usize::MAX);
    rule.who.any_of.iter().any(|legs| {
        let seats = legs.len().saturating_mul(quorum);
        !legs.is_empty() && seats <= people.len() && seated(legs, quorum, &people)
    })
}

/// Whether every seat (`quorum` for each leg) gets a person of its own: bipartite matching by
/// augmenting paths.
fn seated(legs: &[String], quorum: usize, people: &[Vec<&str>]) -> bool {
    let mut seat_of: Vec<Option<usize>> = vec![None; people.len()];
    let seats: Vec<&str> = legs
        .iter()
        .flat_map(|leg| std::iter::repeat_n(leg.as_str(), quorum))
        .collect();
    (0..seats.len()).all(|seat| {
        let mut seen = vec![false; people.len()];
        seat_person(seat, &seats, people, &mut seat_of, &mut seen)
    })
}

fn seat_person(
    seat: usize,
    seats: &[&str],
    people: &[Vec<&str>],
    seat_of: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for person in 0..people.len() {
        if seen[person] || !people[person].contains(&seats[seat]) {
            continue;
        }
        seen[person] = true;
        let free = match seat_of[person] {
            None => true,
            Some(taken) => seat_person(taken, seats, people, seat_of, seen),
        };
        if free {
            seat_of[person] = Some(seat);
            return true;
        }
    }
    false
}

//! Tests of held calls.

mod asks;
mod chaos;
mod figures;
mod glass;
mod grants;
mod kill;
mod outages;
mod people;
mod runs;
mod servers;
mod shown;
mod simulation;
mod tampering;
mod votes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::call::{CallId, Effect, FunctionId, Sameness};
use crate::clock::ManualClock;
use crate::identity::Kind;
use crate::policy::{GroupExpr, PersonFacts, RuleHash, RuleTerms, StepUp, Terms};
use crate::store::SqlStore;
use crate::store::tests::engine;

pub(super) const START: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(super) const LEADS: &str = "corp/leads";
pub(super) const RISK: &str = "corp/risk";

/// A store in a folder of its own, held calls on it, and a clock that stands still.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) sql: Arc<SqlStore>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) approvals: Approvals,
}

pub(super) fn with(store: &Arc<dyn Store>, clock: &Arc<ManualClock>, config: Config) -> Approvals {
    let clock: SharedClock = Arc::clone(clock) as SharedClock;
    Approvals::new(Arc::clone(store), &Secret::new([9; 32]), clock, config).unwrap()
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sql = Arc::new(engine::fresh(dir.path()).await);
        let store: Arc<dyn Store> = Arc::clone(&sql) as _;
        let clock = Arc::new(ManualClock::new(START));
        let approvals = with(&store, &clock, config);
        Self {
            dir,
            sql,
            store,
            clock,
            approvals,
        }
    }

    pub(super) async fn ask(&self, who: &Principal, body: &str) -> Ticket {
        ask(&self.approvals, who, body, &lead_terms())
            .await
            .unwrap()
    }

    /// Asked by `caller()` and approved by one lead.
    pub(super) async fn approved(&self, body: &str) -> ApprovalId {
        let ticket = self.ask(&caller(), body).await;
        let state = yes(&self.approvals, &ticket.id, &lead_terms(), &lead("lea")).await;
        assert_eq!(state.unwrap(), State::Approved);
        ticket.id
    }
}

pub(super) fn caller() -> Principal {
    Principal::for_tests("corp", "robot", Kind::Agent, &[])
}

pub(super) fn human(subject: &str, groups: &[&str]) -> Principal {
    Principal::for_tests("corp", subject, Kind::Human, groups).signed_in(Some(START), None)
}

pub(super) fn lead(subject: &str) -> Principal {
    human(subject, &[LEADS])
}

pub(super) fn rule(name: &str, any_of: &[&[&str]], quorum: u32) -> RuleTerms {
    let mut hash = [0; 32];
    hash[..name.len()].copy_from_slice(name.as_bytes());
    RuleTerms {
        id: name.to_owned(),
        hash: RuleHash(hash),
        who: GroupExpr {
            any_of: any_of
                .iter()
                .map(|legs| legs.iter().map(|&leg| leg.to_owned()).collect())
                .collect(),
        },
        quorum,
        decide_within: Duration::from_secs(900),
        reason: None,
        step_up: StepUp::default(),
        grant: None,
        break_glass: None,
    }
}

pub(super) const fn here() -> PersonFacts {
    PersonFacts {
        at: START,
        source: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    }
}

pub(super) fn terms(rules: &[RuleTerms]) -> Terms {
    Terms {
        rules: rules.to_vec(),
    }
}

pub(super) fn lead_terms() -> Terms {
    terms(&[rule("lead", &[&[LEADS]], 1)])
}

pub(super) fn same(body: &str, key: Option<&str>) -> Sameness {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    Sameness {
        digest: digest.as_ref().try_into().unwrap(),
        idempotency_key: key.map(str::to_owned),
    }
}

pub(super) fn function() -> FunctionId {
    "payments/createRefund".parse().unwrap()
}

pub(super) async fn ask(
    approvals: &Approvals,
    who: &Principal,
    body: &str,
    terms: &Terms,
) -> Result<Ticket, AskError> {
    ask_keyed(approvals, who, body, terms, None).await
}

pub(super) async fn ask_keyed(
    approvals: &Approvals,
    who: &Principal,
    body: &str,
    terms: &Terms,
    key: Option<&str>,
) -> Result<Ticket, AskError> {
    let question = Question {
        principal: who,
        function: &function(),
        effect: Effect::Write,
        terms,
        frozen: body.as_bytes().to_vec(),
        summary: json!({ "body": body }),
        sameness: same(body, key),
        call: CallId::from_bytes([3; 16]),
        apart: Vec::new(),
    };
    approvals.ask(question).await
}

pub(super) async fn cast(
    approvals: &Approvals,
    id: &ApprovalId,
    rule: &RuleHash,
    voter: &Principal,
    verdict: Verdict,
) -> Result<State, VoteError> {
    let ballot = Ballot {
        approval: id,
        rule,
        voter,
        verdict,
        reason: "because",
        seen: None,
        facts: here(),
        widen: None,
    };
    approvals
        .vote(ballot, |_| true, |_| async { Ok::<(), Infallible>(()) })
        .await
}

/// A yes on the first rule.
pub(super) async fn yes(
    approvals: &Approvals,
    id: &ApprovalId,
    terms: &Terms,
    voter: &Principal,
) -> Result<State, VoteError> {
    cast(approvals, id, &terms.rules[0].hash, voter, Verdict::Yes).await
}

/// A no on the first rule.
pub(super) async fn no(
    approvals: &Approvals,
    id: &ApprovalId,
    terms: &Terms,
    voter: &Principal,
) -> Result<State, VoteError> {
    cast(approvals, id, &terms.rules[0].hash, voter, Verdict::No).await
}

pub(super) async fn done(bench: &Bench, id: &ApprovalId, result: Option<&[u8]>) {
    let execution = bench.approvals.take(id, &caller(), "i1").await.unwrap();
    let outcome = Outcome::Done {
        result: result.map(<[u8]>::to_vec),
    };
    bench.approvals.finish(execution, outcome).await.unwrap();
}

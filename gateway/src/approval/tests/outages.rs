//! The database is away, or its answer is lost, at each step.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::chaos::{Chaos, Dice, Fate};
use super::*;

const FATES: [Fate; 2] = [Fate::Fails, Fate::AnswerLost];

struct Ward {
    chaos: Arc<Chaos>,
    approvals: Approvals,
}

impl Ward {
    fn new() -> Self {
        let chaos = Arc::new(Chaos::new(Dice::new(1)));
        chaos.calm.store(true, Ordering::SeqCst);
        let store: Arc<dyn Store> = Arc::clone(&chaos) as Arc<dyn Store>;
        let clock = Arc::new(ManualClock::new(START));
        let approvals = with(&store, &clock, Config::default());
        Self { chaos, approvals }
    }

    fn next(&self, fate: Fate) {
        *self
            .chaos
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(fate);
    }

    async fn approved(&self) -> ApprovalId {
        let ticket = ask(&self.approvals, &caller(), "refund", &lead_terms()).await;
        let id = ticket.unwrap().id;
        yes(&self.approvals, &id, &lead_terms(), &lead("lea"))
            .await
            .unwrap();
        id
    }

    async fn taken(&self) -> (ApprovalId, Execution) {
        let id = self.approved().await;
        let execution = self.approvals.take(&id, &caller(), "i1").await.unwrap();
        (id, execution)
    }

    async fn state(&self, id: &ApprovalId) -> State {
        self.approvals.state(id).await.unwrap()
    }
}

// P22
#[tokio::test]
async fn without_the_store_nothing_is_asked_and_nothing_allowed() {
    for fate in FATES {
        let ward = Ward::new();
        ward.next(fate);
        let asked = ask(&ward.approvals, &caller(), "refund", &lead_terms()).await;
        assert!(matches!(asked, Err(AskError::Failed(Error::Store(_)))));
        // Asked again, it is one question, whether or not the first one arrived.
        let again = ask(&ward.approvals, &caller(), "refund", &lead_terms()).await;
        assert_eq!(again.unwrap().joined, fate == Fate::AnswerLost);
    }
}

// P17
#[tokio::test]
async fn a_take_whose_answer_is_lost_is_given_back() {
    for fate in FATES {
        let ward = Ward::new();
        let id = ward.approved().await;
        // The reading before it goes well.
        ward.chaos.skip(1);
        ward.next(fate);
        let take = ward.approvals.take(&id, &caller(), "i1").await;
        assert!(matches!(take, Err(TakeError::Failed(Error::Store(_)))));
        ward.approvals.sweep().await.unwrap();
        assert_eq!(ward.state(&id).await, State::Approved);
        let again = ward.approvals.take(&id, &caller(), "i1").await.unwrap();
        assert_eq!(again.fence(), 1 + u64::from(fate == Fate::AnswerLost));
        ward.approvals.give_back(again).await.unwrap();
    }
}

// P17
#[tokio::test]
async fn an_end_that_cannot_be_written_is_written_later_as_it_was() {
    for fate in FATES {
        let ward = Ward::new();
        let (id, execution) = ward.taken().await;
        ward.next(fate);
        let outcome = Outcome::Done {
            result: Some(b"ok".to_vec()),
        };
        let end = ward.approvals.finish(execution, outcome).await;
        assert!(matches!(end, Err(Error::Store(_))));
        ward.next(Fate::Fails);
        assert!(ward.approvals.sweep().await.is_err());
        ward.approvals.sweep().await.unwrap();
        assert_eq!(ward.state(&id).await, State::Done);
        let kept = ward.approvals.fetch_result(&id, &caller()).await.unwrap();
        assert_eq!(kept.as_deref(), Some(&b"ok"[..]));
    }
}

// P17
#[tokio::test]
async fn what_cannot_be_given_back_is_given_back_later() {
    for fate in FATES {
        let ward = Ward::new();
        let (id, execution) = ward.taken().await;
        ward.next(fate);
        assert!(ward.approvals.give_back(execution).await.is_err());
        ward.approvals.sweep().await.unwrap();
        assert_eq!(ward.state(&id).await, State::Approved);
    }
}

// P17
#[tokio::test]
async fn what_cannot_be_superseded_ends_all_the_same() {
    for fate in FATES {
        let ward = Ward::new();
        let (id, execution) = ward.taken().await;
        ward.next(fate);
        let risk = terms(&[rule("risk", &[&[RISK]], 1)]);
        assert!(
            ward.approvals
                .supersede(execution, Some(&risk))
                .await
                .is_err()
        );
        ward.approvals.sweep().await.unwrap();
        assert_eq!(ward.state(&id).await, State::Superseded);
        let anew = ask(&ward.approvals, &caller(), "refund", &risk)
            .await
            .unwrap();
        assert_eq!(anew.joined, fate == Fate::AnswerLost);
    }
}

// P17
#[tokio::test]
async fn a_vote_whose_answer_is_lost_counts_once() {
    let ward = Ward::new();
    let two = terms(&[rule("two", &[&[LEADS]], 2)]);
    let ticket = ask(&ward.approvals, &caller(), "refund", &two).await;
    let id = ticket.unwrap().id;
    ward.chaos.skip(1);
    ward.next(Fate::AnswerLost);
    let vote = yes(&ward.approvals, &id, &two, &lead("ann")).await;
    assert!(matches!(vote, Err(VoteError::Failed(Error::Store(_)))));
    let again = yes(&ward.approvals, &id, &two, &lead("ann")).await;
    assert!(matches!(again, Err(VoteError::AlreadyVoted)));
    assert_eq!(ward.state(&id).await, State::Pending);
}

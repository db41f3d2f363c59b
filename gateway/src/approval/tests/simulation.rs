//! The real code of this room over the model store, in schedules that seeds decide: tasks interleave at
//! every transaction, answers get lost, tasks vanish, instances crash and restart, clocks jump, votes
//! and calls arrive twice.
//!
//! A share of seeds runs in every build; `CALLGATE_SIM_SEEDS=1000000` runs more, and
//! `CALLGATE_SIM_FIRST` starts elsewhere to play one seed again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::chaos::{Chaos, Dice, poll_once, run};
use super::*;
use crate::clock::Clock;
use crate::store::Edge;

const SEEDS: u64 = 300;
const BODIES: [&str; 3] = ["refund 10", "refund 20", "refund 30"];
const INSTANCES: usize = 2;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What reached the function.
#[derive(Clone, Debug)]
struct Hit {
    id: String,
    body: Vec<u8>,
}

/// What happened over all seeds, to be sure that the simulation reaches what it is about.
#[derive(Debug, Default)]
struct Coverage {
    hits: usize,
    crashes: usize,
    vanished: usize,
    fetched: usize,
    states: BTreeSet<State>,
}

struct World {
    seed: u64,
    dice: Dice,
    chaos: Arc<Chaos>,
    clock: Arc<ManualClock>,
    hits: RefCell<Vec<Hit>>,
    fetched: RefCell<BTreeSet<String>>,
    released: RefCell<BTreeSet<String>>,
}

fn wanted() -> Terms {
    terms(&[rule("two-leads", &[&[LEADS]], 2)])
}

fn other_terms() -> Terms {
    terms(&[rule("risk", &[&[LEADS]], 1)])
}

/// Four people; the last is the third under another account.
fn voters() -> Vec<Principal> {
    vec![
        lead("v0"),
        lead("v1"),
        lead("v2").of_person("p2"),
        lead("v3").of_person("p2"),
    ]
}

fn person(subject: &str) -> &str {
    if subject == "v3" { "v2" } else { subject }
}

impl World {
    fn approvals(&self) -> Approvals {
        let store: Arc<dyn Store> = Arc::clone(&self.chaos) as Arc<dyn Store>;
        let config = Config {
            decide_within_max_s: 60,
            execute_within_s: 20,
            cooldown_s: 5,
            ..Config::default()
        };
        with(&store, &self.clock, config)
    }

    /// The bytes leave. Nobody but the holder of an approval with enough people gets here.
    fn send(&self, execution: &Execution, body: &str) {
        let book = self.chaos.inner.book();
        let seed = self.seed;
        let row = &book.rows[execution.id().as_str()];
        assert_eq!(
            execution.frozen(),
            body.as_bytes(),
            "seed {seed}: other bytes"
        );
        assert_eq!(
            row.state,
            State::Executing,
            "seed {seed}: run without a hold"
        );
        let standing = book
            .votes
            .iter()
            .filter(|v| v.approval == row.id && v.voided.is_none());
        let mut people = BTreeSet::new();
        for vote in standing {
            assert!(vote.yes, "seed {seed}: run against a no");
            people.insert(person(&vote.subject).to_owned());
        }
        let quorum = if row.terms.contains("two-leads") {
            2
        } else {
            1
        };
        assert!(
            people.len() >= quorum,
            "seed {seed}: run without its quorum"
        );
        self.hits.borrow_mut().push(Hit {
            id: row.id.clone(),
            body: execution.frozen().to_vec(),
        });
    }

    /// What a holder does with its one run.
    async fn execute(&self, approvals: &Approvals, execution: Execution, body: &str) {
        self.dice.pause(3).await;
        let execution = match self.dice.below(12) {
            0 => return drop(approvals.give_back(execution).await),
            1 => return drop(approvals.supersede(execution, None).await),
            2 => {
                let other = other_terms();
                return drop(approvals.supersede(execution, Some(&other)).await);
            }
            3 => {
                let whom = execution
                    .voters()
                    .iter()
                    .map(|v| &v.key)
                    .min()
                    .unwrap()
                    .clone();
                match approvals.void(execution, &[whom]).await {
                    Ok(Voided::Still(execution)) => *execution,
                    Ok(Voided::Reopened) | Err(_) => return,
                }
            }
            4 => return drop(execution),
            5 => return drop(approvals.finish(execution, Outcome::Failed).await),
            _ => execution,
        };
        self.send(&execution, body);
        self.dice.pause(3).await;
        let outcome = match self.dice.below(8) {
            0 => return drop(execution),
            1 => Outcome::Indeterminate,
            _ => Outcome::Done {
                result: Some(body.as_bytes().to_vec()),
            },
        };
        drop(approvals.finish(execution, outcome).await);
    }

    /// A caller that comes again and again with the same call.
    async fn call(&self, approvals: &Approvals, instance: usize, body: &str) {
        let who = caller();
        for _ in 0..8 {
            self.dice.pause(12).await;
            let terms = if self.dice.below(20) == 0 {
                other_terms()
            } else {
                wanted()
            };
            let Ok(ticket) = ask(approvals, &who, body, &terms).await else {
                continue;
            };
            if ticket.state == State::Done {
                let id = ticket.id.to_string();
                let over = self.released.borrow().contains(&id);
                if let Ok(Some(result)) = approvals.fetch_result(&ticket.id, &who).await {
                    assert_eq!(result, body.as_bytes());
                    assert!(!over, "seed {}: {id} was handed out again", self.seed);
                    self.fetched.borrow_mut().insert(id.clone());
                    // A caller that crashes here has nothing yet, and gets it when it comes again.
                    self.dice.pause(12).await;
                    if let Ok(true) = approvals.result_released(&ticket.id, &who).await {
                        self.released.borrow_mut().insert(id);
                    }
                }
                return;
            }
            let name = format!("i{instance}");
            if let Ok(execution) = approvals.take(&ticket.id, &who, &name).await {
                self.execute(approvals, execution, body).await;
            } else if self.dice.below(30) == 0 {
                drop(approvals.cancel(&ticket.id, &who).await);
            }
        }
    }

    /// Open approvals in the order in which they were asked: ids are random, and would make a seed
    /// play differently each time.
    fn open(&self) -> Vec<String> {
        let book = self.chaos.inner.book();
        let asked = book.changes.iter().filter(|c| c.cause == "asked");
        let open = asked.filter(|c| !book.rows[&c.approval].state.is_final());
        open.map(|change| change.approval.clone()).collect()
    }

    /// A person who votes on what there is, sometimes twice at once.
    async fn person(&self, approvals: &Approvals, voter: &Principal) {
        for _ in 0..6 {
            self.dice.pause(12).await;
            let open = self.open();
            if open.is_empty() {
                continue;
            }
            let id: ApprovalId = open[self.dice.index(open.len())].parse().unwrap();
            let verdict = if self.dice.below(20) == 0 {
                Verdict::No
            } else {
                Verdict::Yes
            };
            let voter_of = |terms: &Terms| terms.rules[0].hash;
            let first = voter_of(&wanted());
            let second = voter_of(&other_terms());
            drop(cast(approvals, &id, &first, voter, verdict).await);
            if self.dice.below(3) == 0 {
                drop(cast(approvals, &id, &first, voter, verdict).await);
            }
            drop(cast(approvals, &id, &second, voter, verdict).await);
        }
    }
}

/// Everything that one instance does at first.
fn tasks(world: &Rc<World>, approvals: &Approvals, instance: usize) -> Vec<(usize, Task)> {
    let mut tasks: Vec<(usize, Task)> = Vec::new();
    for body in BODIES {
        let (world, approvals) = (Rc::clone(world), approvals.clone());
        let call = async move { world.call(&approvals, instance, body).await };
        tasks.push((instance, Box::pin(call)));
    }
    for voter in voters() {
        let (world, approvals) = (Rc::clone(world), approvals.clone());
        let person = async move { world.person(&approvals, &voter).await };
        tasks.push((instance, Box::pin(person)));
    }
    let (world, approvals) = (Rc::clone(world), approvals.clone());
    let sweep = async move {
        for _ in 0..10 {
            world.dice.pause(20).await;
            drop(approvals.sweep().await);
        }
    };
    tasks.push((instance, Box::pin(sweep)));
    tasks
}

fn recovered(approvals: &Approvals, instance: usize) {
    while run(approvals.recover(&format!("i{instance}"))).is_err() {}
}

/// Play one seed; answers where its dice ended.
fn simulate(seed: u64, coverage: &mut Coverage) -> u64 {
    let dice = Dice::new(seed);
    let world = Rc::new(World {
        seed,
        chaos: Arc::new(Chaos::new(dice.clone())),
        clock: Arc::new(ManualClock::new(START)),
        dice,
        hits: RefCell::default(),
        fetched: RefCell::default(),
        released: RefCell::default(),
    });
    let mut instances: Vec<Approvals> = (0..INSTANCES).map(|_| world.approvals()).collect();
    let mut running: Vec<(usize, Task)> = Vec::new();
    for (instance, approvals) in instances.iter().enumerate() {
        running.extend(tasks(&world, approvals, instance));
    }
    while !running.is_empty() {
        let chosen = world.dice.index(running.len());
        if poll_once(&mut running[chosen].1) {
            drop(running.swap_remove(chosen));
        }
        match world.dice.below(400) {
            0 => {
                // Power goes off: whatever the instance was doing stops where it stands.
                let instance = world.dice.index(INSTANCES);
                running.retain(|(of, _)| *of != instance);
                instances[instance] = world.approvals();
                recovered(&instances[instance], instance);
                if world.dice.below(2) == 0 {
                    running.extend(tasks(&world, &instances[instance], instance));
                }
                coverage.crashes += 1;
            }
            1 if !running.is_empty() => {
                // One task panics, or its caller's connection takes it down.
                drop(running.swap_remove(world.dice.index(running.len())));
                coverage.vanished += 1;
            }
            2..=20 => world
                .clock
                .advance(Duration::from_millis(world.dice.below(4_000))),
            21 => {
                let back = world.clock.now().millis() - world.dice.below(3_000);
                world.clock.set(Timestamp::from_nanos(back * 1_000_000));
            }
            _ => {}
        }
    }
    world.chaos.calm.store(true, Ordering::SeqCst);
    for (instance, approvals) in instances.iter().enumerate() {
        run(approvals.sweep()).unwrap();
        recovered(approvals, instance);
    }
    world.clock.advance(Duration::from_secs(3_600));
    run(instances[0].sweep()).unwrap();
    check(&world, coverage);
    world.dice.below(u64::MAX)
}

/// Zero double executions, zero other bytes, nothing silent.
fn check(world: &World, coverage: &mut Coverage) {
    let seed = world.seed;
    let book = world.chaos.inner.book();
    let hits = world.hits.borrow();
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for hit in hits.iter() {
        *of.entry(&hit.id).or_default() += 1;
        assert!(
            BODIES.iter().any(|body| body.as_bytes() == hit.body),
            "seed {seed}"
        );
    }
    for row in book.rows.values() {
        let ran = of.get(row.id.as_str()).copied().unwrap_or(0);
        assert!(
            row.state.is_final(),
            "seed {seed}: {} stays {}",
            row.id,
            row.state
        );
        assert!(ran <= 1, "seed {seed}: {} ran {ran} times", row.id);
        if ran == 1 {
            let told = matches!(row.state, State::Done | State::Indeterminate);
            assert!(told, "seed {seed}: {} ran and says {}", row.id, row.state);
        } else {
            assert_ne!(row.state, State::Done, "seed {seed}: {} never ran", row.id);
        }
        assert!(
            row.frozen.is_none() && row.summary.is_none(),
            "seed {seed}: content left"
        );
        coverage.states.insert(row.state);
    }
    coverage.fetched += world.fetched.borrow().len();
    paths(seed, &book.changes);
    coverage.hits += hits.len();
}

/// Every change that was told is an edge of the machine.
fn paths(seed: u64, changes: &[crate::store::Change]) {
    let mut at: BTreeMap<&str, State> = BTreeMap::new();
    for change in changes {
        let before = at.insert(&change.approval, change.state);
        let legal = match before {
            None => change.state == State::Pending,
            Some(before) => Edge::ALL
                .into_iter()
                .any(|edge| edge.from().contains(&before) && edge.to() == change.state),
        };
        assert!(legal, "seed {seed}: {before:?} to {:?}", change.state);
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

// P5, P6, P7, P17, P18
#[test]
fn no_schedule_runs_a_call_twice_or_with_other_bytes_or_silently() {
    let mut coverage = Coverage::default();
    let first = number("CALLGATE_SIM_FIRST", 0);
    let seeds = number("CALLGATE_SIM_SEEDS", SEEDS);
    for seed in first..first + seeds {
        simulate(seed, &mut coverage);
    }
    if seeds >= SEEDS {
        assert!(
            coverage.hits > 100 && coverage.crashes > 100,
            "{coverage:?}"
        );
        assert!(
            coverage.vanished > 100 && coverage.fetched > 10,
            "{coverage:?}"
        );
        let all = State::ALL.into_iter().filter(|state| state.is_final());
        assert!(coverage.states.is_superset(&all.collect()), "{coverage:?}");
    }
}

#[test]
fn a_seed_plays_the_same_schedule_again() {
    let mut coverage = Coverage::default();
    for seed in 0..10 {
        let once = simulate(seed, &mut coverage);
        assert_eq!(simulate(seed, &mut coverage), once, "seed {seed}");
    }
}

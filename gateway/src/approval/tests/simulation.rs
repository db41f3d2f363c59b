//! The real code of this room over the model store, in schedules that seeds decide: tasks interleave at
//! every transaction, answers get lost, tasks vanish, instances crash and restart, or are cut off from
//! their database and stood in for by others while they go on; the database's clock jumps, and the
//! instances' clocks are up to half a minute beside it; votes and calls arrive twice.
//!
//! A share of seeds runs in every build; `CALLGATE_SIM_SEEDS=1000000` runs more (`make schedules`), and
//! `CALLGATE_SIM_FIRST` starts elsewhere to play one seed again. What one seed leads to is a *history*:
//! every change of an approval in its order, with the crashes, cuts and clock steps in between. Two seeds
//! may have one history; how many there were is told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::chaos::{Chaos, Dice, poll_once, run};
use super::*;
use crate::clock::Clock;
use crate::store::{Edge, MemoryStore};

const SEEDS: u64 = 300;
/// How many seeds are told of at a time, when there are more.
const TOLD: u64 = 50_000;
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
    cuts: usize,
    stood_in: usize,
    vanished: usize,
    fetched: usize,
    states: BTreeSet<State>,
    histories: HashSet<u64>,
}

impl Coverage {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.stood_in += other.stood_in;
        self.vanished += other.vanished;
        self.fetched += other.fetched;
        self.states.extend(other.states);
        self.histories.extend(other.histories);
    }
}

/// An instance's own clock, beside the one that rules.
#[derive(Debug)]
struct Skewed {
    true_time: Arc<ManualClock>,
    millis: i64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let nanos = i128::from(self.true_time.now().nanos()) + i128::from(self.millis) * 1_000_000;
        Timestamp::from_nanos(u64::try_from(nanos).unwrap())
    }
}

/// What happened, in its order.
#[derive(Debug, Default)]
struct History {
    hash: DefaultHasher,
    told: usize,
    known: BTreeMap<String, usize>,
}

impl History {
    fn event(&mut self, what: &str, of: usize) {
        (what, of).hash(&mut self.hash);
    }

    /// Take in the changes that are new.
    fn follow(&mut self, changes: &[crate::store::Change]) {
        for change in &changes[self.told..] {
            let next = self.known.len();
            let number = *self.known.entry(change.approval.clone()).or_insert(next);
            (number, change.state, &change.cause).hash(&mut self.hash);
        }
        self.told = changes.len();
    }
}

struct World {
    seed: u64,
    dice: Dice,
    store: Arc<MemoryStore>,
    /// Each instance's way to the store.
    links: Vec<Arc<Chaos>>,
    /// The store's clock, and how far each instance's is beside it.
    clock: Arc<ManualClock>,
    skews: Vec<i64>,
    stood_in: RefCell<BTreeSet<String>>,
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
    fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let store = Arc::<MemoryStore>::default();
        let clock = Arc::new(ManualClock::new(START));
        let link = |_| Arc::new(Chaos::beside(&store, dice.clone(), &clock));
        let links = (0..INSTANCES).map(link).collect();
        // Every other seed has clocks that are right.
        let skewed = dice.below(2) == 0;
        let skew = |_| match skewed {
            true => i64::try_from(dice.below(60_000)).unwrap() - 30_000,
            false => 0,
        };
        Self {
            seed,
            skews: (0..INSTANCES).map(skew).collect(),
            store,
            links,
            clock,
            dice,
            stood_in: RefCell::default(),
            hits: RefCell::default(),
            fetched: RefCell::default(),
            released: RefCell::default(),
        }
    }

    fn approvals(&self, instance: usize) -> Approvals {
        let store: Arc<dyn Store> = Arc::clone(&self.links[instance]) as Arc<dyn Store>;
        let config = Config {
            decide_within_max_s: 60,
            execute_within_s: 20,
            cooldown_s: 5,
            ..Config::default()
        };
        let clock: SharedClock = Arc::new(Skewed {
            true_time: Arc::clone(&self.clock),
            millis: self.skews[instance],
        });
        Approvals::new(store, &Secret::new([9; 32]), clock, config).unwrap()
    }

    /// The bytes leave. Nobody but the holder of an approval with enough people gets here.
    fn send(&self, execution: &Execution, body: &str) {
        let book = self.store.book();
        let seed = self.seed;
        let row = &book.rows[execution.id().as_str()];
        assert_eq!(
            execution.frozen(),
            body.as_bytes(),
            "seed {seed}: other bytes"
        );
        // Whoever was cut off does not know that another has called it lost; nobody else runs it.
        let lost = row.state == State::Indeterminate && self.stood_in.borrow().contains(&row.id);
        assert!(
            row.state == State::Executing || lost,
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
        let book = self.store.book();
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

/// An instance is cut off from the database, or reaches it again; or one that is cut off is stood in for.
fn partition(world: &World, instances: &[Approvals], coverage: &mut Coverage) {
    let instance = world.dice.index(INSTANCES);
    let cut = &world.links[instance].cut;
    if !cut.load(Ordering::SeqCst) {
        cut.store(true, Ordering::SeqCst);
        coverage.cuts += 1;
    } else if world.dice.below(2) == 0 {
        cut.store(false, Ordering::SeqCst);
    } else {
        // Whether or not the answer arrives, all of these are lost.
        let name = format!("i{instance}");
        let under_way = |row: &&store::ApprovalRow| {
            row.state == State::Executing && row.instance.as_deref() == Some(&name)
        };
        let book = world.store.book();
        let lost: Vec<String> = book
            .rows
            .values()
            .filter(under_way)
            .map(|row| row.id.clone())
            .collect();
        drop(book);
        drop(run(instances[(instance + 1) % INSTANCES].recover(&name)));
        coverage.stood_in += lost.len();
        world.stood_in.borrow_mut().extend(lost);
    }
}

/// Play one seed; answers where its dice ended.
fn simulate(seed: u64, coverage: &mut Coverage) -> u64 {
    let world = Rc::new(World::new(seed));
    let mut history = History::default();
    let mut instances: Vec<Approvals> = (0..INSTANCES).map(|n| world.approvals(n)).collect();
    let mut running: Vec<(usize, Task)> = Vec::new();
    for (instance, approvals) in instances.iter().enumerate() {
        running.extend(tasks(&world, approvals, instance));
    }
    while !running.is_empty() {
        let chosen = world.dice.index(running.len());
        if poll_once(&mut running[chosen].1) {
            drop(running.swap_remove(chosen));
        }
        history.follow(&world.store.book().changes);
        match world.dice.below(400) {
            0 => {
                // Power goes off: whatever the instance was doing stops where it stands.
                let instance = world.dice.index(INSTANCES);
                running.retain(|(of, _)| *of != instance);
                world.links[instance].cut.store(false, Ordering::SeqCst);
                instances[instance] = world.approvals(instance);
                recovered(&instances[instance], instance);
                if world.dice.below(2) == 0 {
                    running.extend(tasks(&world, &instances[instance], instance));
                }
                coverage.crashes += 1;
                history.event("crash", instance);
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
                history.event("back", 0);
            }
            22..=25 => partition(&world, &instances, coverage),
            _ => {}
        }
    }
    settle(&world, &instances);
    check(&world, coverage);
    history.follow(&world.store.book().changes);
    coverage.histories.insert(history.hash.finish());
    world.dice.below(u64::MAX)
}

/// Everything works again, and what was left is ended.
fn settle(world: &World, instances: &[Approvals]) {
    for link in &world.links {
        link.calm.store(true, Ordering::SeqCst);
        link.cut.store(false, Ordering::SeqCst);
    }
    for (instance, approvals) in instances.iter().enumerate() {
        run(approvals.sweep()).unwrap();
        recovered(approvals, instance);
    }
    world.clock.advance(Duration::from_secs(3_600));
    run(instances[0].sweep()).unwrap();
}

/// Zero double executions, zero other bytes, nothing silent.
fn check(world: &World, coverage: &mut Coverage) {
    let seed = world.seed;
    let book = world.store.book();
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

/// Seeds from `first`, spread over the machine's processors when they are many.
fn play(first: u64, seeds: u64) -> Coverage {
    let lanes = match seeds {
        0..=SEEDS => 1,
        _ => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
    };
    let mut all = Coverage::default();
    std::thread::scope(|scope| {
        let lane = |lane| {
            scope.spawn(move || {
                let mut coverage = Coverage::default();
                for seed in (first + lane..first + seeds).step_by(usize::try_from(lanes).unwrap()) {
                    simulate(seed, &mut coverage);
                }
                coverage
            })
        };
        let lanes: Vec<_> = (0..lanes).map(lane).collect();
        for lane in lanes {
            all.add(lane.join().unwrap());
        }
    });
    all
}

fn tell(first: u64, played: u64, coverage: &Coverage, begun: Instant) {
    println!(
        "{played} schedules (seeds {first} to {}) with {} histories in {} s: {} calls ran, none twice, none with \
         other bytes; {} crashes, {} cuts, {} calls stood in for, {} tasks vanished",
        first + played - 1,
        coverage.histories.len(),
        begun.elapsed().as_secs(),
        coverage.hits,
        coverage.crashes,
        coverage.cuts,
        coverage.stood_in,
        coverage.vanished,
    );
}

// P5, P6, P7, P8, P17, P18
#[test]
fn no_schedule_runs_a_call_twice_or_with_other_bytes_or_silently() {
    let first = number("CALLGATE_SIM_FIRST", 0);
    let seeds = number("CALLGATE_SIM_SEEDS", SEEDS);
    let begun = Instant::now();
    let mut coverage = Coverage::default();
    let mut played = 0;
    while played < seeds {
        let now = TOLD.min(seeds - played);
        coverage.add(play(first + played, now));
        played += now;
        tell(first, played, &coverage, begun);
    }
    if seeds >= SEEDS {
        let reached = [
            coverage.hits > 100,
            coverage.crashes > 100,
            coverage.cuts > 100,
            coverage.stood_in > 0,
            coverage.vanished > 100,
            coverage.fetched > 10,
            coverage.histories.len() > 100,
        ];
        assert!(reached.iter().all(|good| *good), "{reached:?}");
        let all = State::ALL.into_iter().filter(|state| state.is_final());
        assert!(
            coverage.states.is_superset(&all.collect()),
            "{:?}",
            coverage.states
        );
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

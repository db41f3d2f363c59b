//! The order of a call. It stands here, once, as a straight line: `steps`, then `send`.
//!
//! Every call is a task of its own that owns its open record; the protocol's handler only starts it
//! and pumps what comes out, so a caller that goes away cannot take the record along. Called by the
//! protocols.

mod admit;
mod closing;
mod edit;
mod kept;
mod observe;
mod outgoing;
mod release;
mod reply;
mod request;
pub mod simulate;
mod snapshot;
mod standing;
mod tokens;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

pub use reply::{Aborted, KeptBody, MaskedReply, Part, RefusalReply, Reply, ReplyBody};
pub use request::Arrival;
pub use snapshot::{Connection, PresentIn, Route, RouteConfig, Snapshot};

use crate::approval::{ApprovalId, Approvals};
use crate::call::{Call, CallId, Facts, FunctionId, HttpCall};
use crate::clock::SharedClock;
use crate::gate::{
    Admitted, Bodies, Code, Executed, Gate, Observing, Permitted, Refusal, Stance, Terrain,
    approval_failed,
};
use crate::identity::assertion::{Signer, Statement};
use crate::identity::{Principal, Revocations};
use crate::mask::Summary;
use crate::record::{Event, Recorder, Who};
use crate::telemetry::{CallLabels, Metrics};
use crate::upstream::Left;
use closing::{closed, uncredited, unsent};
use release::Release;
use reply::Answer;
use standing::Standing;

/// Header of the short signed assertion that tells a function who calls.
const ASSERTION: HeaderName = HeaderName::from_static("callgate-caller");

/// How often a stopping gateway looks whether calls are under way.
const IDLE_PROBE_EVERY: Duration = Duration::from_millis(20);

/// What a call needs from the house.
#[derive(Debug)]
pub struct Pipeline {
    snapshot: ArcSwap<Snapshot>,
    gate: Gate,
    bodies: Bodies,
    parts: Parts,
}

/// What is wired together by `app`.
#[derive(Debug)]
pub struct Parts {
    /// Approvals.
    pub approvals: Approvals,
    /// The record.
    pub record: Recorder,
    /// Who is revoked.
    pub revocations: Revocations,
    /// Signs caller assertions.
    pub assertions: Arc<Signer>,
    /// Metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: SharedClock,
    /// This instance's id.
    pub instance: String,
}

/// How a call ended, for metrics.
#[derive(Debug)]
struct Ending {
    outcome: &'static str,
    summary: Summary,
    in_function: Duration,
}

impl Ending {
    const fn answered(outcome: &'static str, summary: Summary, in_function: Duration) -> Self {
        Self {
            outcome,
            summary,
            in_function,
        }
    }

    fn refused(code: &'static str) -> Self {
        Self {
            outcome: code,
            summary: Summary::default(),
            in_function: Duration::ZERO,
        }
    }
}

/// A refusal on the way, with the receipt of the begin record when there is one.
#[derive(Debug)]
struct Refused {
    refusal: Box<Refusal>,
    receipt: Option<String>,
    /// Status in place of the code's own (`approval_pending` only).
    status: Option<u16>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal: Box::new(refusal),
            receipt: None,
            status: None,
        }
    }
}

/// One call on its way: where its answer goes and what is known of it so far.
struct Way {
    id: CallId,
    answer: Answer,
    received: Instant,
    function: Option<FunctionId>,
    who: Option<Arc<Principal>>,
}

impl Pipeline {
    /// Wire the steps together.
    pub fn new(snapshot: Snapshot, parts: Parts) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            gate: Gate::new(
                parts.record.clone(),
                parts.approvals.clone(),
                parts.revocations.clone(),
                parts.metrics.clone(),
                &parts.instance,
            ),
            bodies: Bodies::default(),
            parts,
        }
    }

    /// The snapshot that a call beginning now pins.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Put another snapshot in force for calls that begin from now on.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Get ready to stop: nobody is held for people any more.
    pub fn let_go(&self) {
        self.gate.let_go();
    }

    /// Wait until no call is under way, also none whose caller has gone. False when the time is over.
    pub async fn idle(&self, at_most: Duration) -> bool {
        let begun = Instant::now();
        while self.parts.metrics.under_way.get() > 0 {
            if begun.elapsed() >= at_most {
                return false;
            }
            tokio::time::sleep(IDLE_PROBE_EVERY).await;
        }
        true
    }

    /// What was wired together.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Start a call as its own task. The receiver fails only when the task panicked; its record is
    /// closed then all the same.
    pub fn start(self: &Arc<Self>, arrival: Arrival) -> (CallId, oneshot::Receiver<Reply>) {
        let id = CallId::new(arrival.received);
        let (sender, reply) = oneshot::channel();
        let this = Arc::clone(self);
        let answer = Answer::new(id, sender);
        let way = Way {
            id,
            answer,
            received: Instant::now(),
            function: None,
            who: None,
        };
        self.parts.metrics.under_way.inc();
        tokio::spawn(async move {
            let why = match AssertUnwindSafe(this.carry(arrival, way))
                .catch_unwind()
                .await
            {
                Ok(()) => "left_open",
                Err(_) => "panic",
            };
            // The supervisor's part: no record stays open behind a task that is gone.
            this.parts.record.abandon(id, why).await;
            this.parts.metrics.under_way.dec();
        });
        (id, reply)
    }

    async fn carry(&self, arrival: Arrival, mut way: Way) {
        let outcome = match arrival.approval.clone() {
            None => self.steps(arrival, &mut way).await,
            Some(approval) => self.run_approved(&approval, arrival, &mut way).await,
        };
        let ending = match outcome {
            Ok(ending) => ending,
            Err(refused) => {
                let code = refused.refusal.code;
                self.note(&way, &refused);
                if let Some(operator) = &refused.refusal.operator {
                    tracing::warn!(call.id = %way.id, code = code.as_str(), "{operator}");
                }
                let status = refused.status.filter(|_| code == Code::ApprovalPending);
                // A begun call that nobody waits for any more is no failure of its function.
                let left = refused.receipt.is_some() && way.answer.is_gone();
                way.answer.refuse(*refused.refusal, refused.receipt, status);
                Ending::refused(if left { "cut" } else { code.as_str() })
            }
        };
        self.count(&way, &ending);
    }

    /// One call's path, in the order that is the product.
    async fn steps(&self, arrival: Arrival, way: &mut Way) -> Result<Ending, Refused> {
        let snapshot = self.snapshot();
        let (connection, target) = snapshot
            .route(&arrival.host, &arrival.target)
            .ok_or_else(no_such)?;
        let token = request::token(&connection, &arrival.headers);
        // Each step but the one that waits for people has its state in a box of its own, which goes when
        // the step is over: thousands of calls may wait, and then keep what waiting needs.
        let who = Box::pin(self.verify(&snapshot, &connection, token.as_deref())).await?;
        way.who = Some(Arc::clone(&who));
        let observing = connection.observe.as_ref();
        if let Some(observing) = observing.and_then(|until| until.at(arrival.received)) {
            let under = (snapshot.as_ref(), connection.as_ref());
            return Box::pin(self.observed(observing, under, (target, arrival), who, way)).await;
        }
        let facts = arrival.facts();
        let respond_async = arrival.respond_async;
        let decoding = self.decode((&snapshot, &connection), target, arrival, way.id, &who);
        let call = Box::pin(decoding).await?;
        way.function = Some(call.function().id.clone());
        let _place = admit::admit(&connection, &who, &call.function().id, &self.parts.metrics)?;
        let terrain = Terrain {
            hold: if respond_async {
                Duration::ZERO
            } else {
                connection.hold
            },
            ..terrain(&snapshot, &connection, &call.function().id)
        };
        let status = if respond_async {
            202
        } else {
            connection.pending_status
        };
        let waiting = |refusal| Refused {
            refusal: Box::new(refusal),
            receipt: None,
            status: Some(status),
        };
        let admitted = self.gate.admit(who, call, terrain).await;
        let (connection, admitted) = match admitted.map_err(waiting)? {
            Admitted::Asked(_, id) => {
                let resumed = Box::pin(self.resume(token.as_deref(), &id, facts, way)).await;
                resumed.map_err(waiting)?
            }
            admitted => (connection, admitted),
        };
        Box::pin(self.send(&connection, admitted, way)).await
    }

    /// The path of a call on a connection that only observes: who calls is verified as ever, and it is
    /// limited, recorded and sent as ever; what would have been decided is recorded, and not enforced.
    async fn observed(
        &self,
        observing: Observing,
        (snapshot, connection): (&Snapshot, &Connection),
        (target, arrival): (wire::http::Target, Arrival),
        who: Arc<Principal>,
        way: &mut Way,
    ) -> Result<Ending, Refused> {
        let mut room = self.bodies.room(who.key());
        let place = (snapshot, connection);
        let seen = observe::see(place, &who, target, arrival, way.id, &mut room).await?;
        drop(room);
        let function = seen.call().function().id.clone();
        way.function = Some(function.clone());
        let _place = connection.limits.admit(who.key(), &function)?;
        let terrain = Terrain {
            mask: mask_word(connection, Stance::Observed, &function),
            ..terrain(snapshot, connection, &function)
        };
        let admitted = self.gate.observe(observing, who, seen, terrain).await?;
        Box::pin(self.send(connection, admitted, way)).await
    }

    /// The same path for `POST …/approvals/{id}/run`: the stored call in place of a decoded one.
    async fn run_approved(
        &self,
        approval: &ApprovalId,
        arrival: Arrival,
        way: &mut Way,
    ) -> Result<Ending, Refused> {
        // The body of this request is not the call's: nobody reads it.
        let facts = arrival.facts();
        let Arrival { headers, .. } = arrival;
        let snapshot = self.snapshot();
        let function = self.approved_function(approval).await?;
        let connection = snapshot
            .connections
            .get(function.connection())
            .ok_or_else(no_such)?;
        let who = Box::pin(self.identify(&snapshot, connection, &headers)).await?;
        way.function = Some(function.clone());
        way.who = Some(Arc::clone(&who));
        let _place = admit::admit(connection, &who, &function, &self.parts.metrics)?;
        let thaw = |bytes: &[u8]| {
            connection
                .catalogue
                .thaw(bytes, way.id, facts.clone())
                .map_err(|fault| request::refused(&fault))
        };
        let terrain = terrain(&snapshot, connection, &function);
        let admitted = self.gate.resume(who, approval, terrain, &thaw).await;
        let status = Some(connection.pending_status);
        let admitted = admitted.map_err(|refusal| Refused {
            refusal: Box::new(refusal),
            receipt: None,
            status,
        })?;
        Box::pin(self.send(connection, admitted, way)).await
    }

    /// A held call goes on under what is in force now, not under what it began with: its caller's token is
    /// verified again, too, which may have ended or been revoked while people decided.
    async fn resume(
        &self,
        token: Option<&str>,
        id: &ApprovalId,
        facts: Facts,
        way: &Way,
    ) -> Result<(Arc<Connection>, Admitted<HttpCall>), Refusal> {
        let snapshot = self.snapshot();
        let function = way.function.as_ref().ok_or_else(no_such)?;
        let connection = snapshot.connections.get(function.connection());
        let connection = Arc::clone(connection.ok_or_else(no_such)?);
        let who = self.verify(&snapshot, &connection, token).await?;
        let thaw = |bytes: &[u8]| {
            let thawed = connection.catalogue.thaw(bytes, way.id, facts.clone());
            thawed.map_err(|fault| request::refused(&fault))
        };
        let terrain = Terrain {
            hold: Duration::ZERO,
            ..terrain(&snapshot, &connection, function)
        };
        let admitted = self.gate.resume(who, id, terrain, &thaw).await?;
        Ok((connection, admitted))
    }

    async fn approved_function(&self, approval: &ApprovalId) -> Result<FunctionId, Refusal> {
        let view = self
            .parts
            .approvals
            .show(approval)
            .await
            .map_err(|error| approval_failed(&error))?;
        view.head.function.parse().map_err(|_| no_such())
    }

    /// From the permit to the released answer.
    async fn send(
        &self,
        connection: &Connection,
        admitted: Admitted<HttpCall>,
        way: &mut Way,
    ) -> Result<Ending, Refused> {
        let permitted = match admitted {
            Admitted::Permit(permitted) => *permitted,
            Admitted::Asked(..) => return Err(no_such().into()),
            Admitted::Kept(kept) => return kept::release(kept, &mut way.answer).await,
        };
        let mut standing = Standing::of(&self.parts.revocations);
        let who = Arc::clone(permitted.principal());
        let at = connection.name.as_str();
        if let Some(refusal) = standing.look(&who, at, Executed::No) {
            return Err(unsent(permitted, refusal).await);
        }
        let (credential, extra) = match self.credentials(connection, &permitted) {
            Ok(credentials) => credentials,
            Err(operator) => return Err(unsent(permitted, uncredited(&operator)).await),
        };
        // An approved call runs to its end: its answer is kept for a caller that went away.
        let approved = permitted.is_approved_execution();
        let left = async {
            if approved {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = way.answer.gone() => Left::Caller,
                refusal = standing.lost(&who, at, Executed::Unknown) => Left::ShutOut(refusal),
            }
        };
        let raw = match connection
            .upstream
            .forward(permitted, credential, extra, left)
            .await
        {
            Ok(raw) => raw,
            Err(failed) => return Err(closed(*failed, way.received).await),
        };
        let masked = match raw.mask() {
            Ok(masked) => masked,
            Err(failed) => return Err(closed(*failed, way.received).await),
        };
        Ok(Release {
            masked,
            answer: &mut way.answer,
            received: way.received,
            standing,
        }
        .run()
        .await)
    }

    /// The function's credential, and the assertion that tells it who calls.
    fn credentials(
        &self,
        connection: &Connection,
        permitted: &Permitted<HttpCall>,
    ) -> Result<(crate::credential::Credential, HeaderMap), String> {
        let credential = connection
            .credential
            .issue(permitted)
            .map_err(|error| error.to_string())?;
        let mut extra = HeaderMap::new();
        if let Some(audience) = &connection.assert_caller {
            let call = permitted.call();
            let (id, function) = (call.id().to_string(), call.function().id.to_string());
            let now = self.parts.clock.now();
            let statement = Statement {
                audience,
                call: &id,
                function: &function,
                now,
            };
            let assertion = self
                .parts
                .assertions
                .sign(permitted.principal(), &statement)
                .map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(assertion).map_err(|error| error.to_string())?;
            extra.insert(ASSERTION, value);
        }
        Ok((credential, extra))
    }

    /// A refusal of a verified caller is on the record, unless whoever refused put it there. A call that
    /// waits is not refused.
    fn note(&self, way: &Way, refused: &Refused) {
        let code = refused.refusal.code;
        let elsewhere = refused.refusal.recorded || code == Code::ApprovalPending;
        let (Some(who), None, false) = (&way.who, &refused.receipt, elsewhere) else {
            return;
        };
        self.parts.record.note_lazily(Event::Denied {
            call: way.id,
            who: Who::from(who.as_ref()),
            connection: way
                .function
                .as_ref()
                .map(|function| function.connection().clone()),
            function: way.function.clone(),
            reason: code.as_str(),
            policies: Vec::new(),
            config_version: self.snapshot().version.clone(),
            policy_version: String::new(),
            shadowed: None,
            content: serde_json::json!({ "detail": refused.refusal.detail }),
        });
    }

    fn count(&self, way: &Way, ending: &Ending) {
        let metrics = &self.parts.metrics;
        let Some(function) = &way.function else {
            metrics.refusal(ending.outcome);
            return;
        };
        let connection = function.connection().to_string();
        for (class, count) in &ending.summary.hits {
            metrics.masked(&connection, &class.to_string(), *count);
        }
        let labels = CallLabels {
            connection,
            function: function.name().to_owned(),
            outcome: ending.outcome.to_owned(),
        };
        metrics.call(&labels, way.received.elapsed(), ending.in_function);
    }
}

/// What a call to `function` is judged and recorded under.
fn terrain<'a>(
    snapshot: &'a Snapshot,
    connection: &'a Connection,
    function: &FunctionId,
) -> Terrain<'a> {
    Terrain {
        policies: &snapshot.policies,
        config_version: &snapshot.version,
        upstream: &connection.origin,
        credential: connection.credential.reference(),
        mask: mask_word(connection, Stance::Enforced, function),
        hold: connection.hold,
    }
}

fn mask_word(connection: &Connection, stance: Stance, function: &FunctionId) -> &'static str {
    let settings = connection.upstream.mask_of(stance, function);
    settings.map_or("off", |settings| settings.mode().as_str())
}

fn no_such() -> Refusal {
    Refusal::new(
        Code::NotFound,
        "NOT executed: no function is reached by this host and path",
    )
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The principal of a request that is not a call: the caller's own paths.
impl Pipeline {
    /// Verify the token that stands where `connection` wants it.
    ///
    /// # Errors
    /// The refusal to tell.
    pub async fn identify(
        &self,
        snapshot: &Snapshot,
        connection: &Connection,
        headers: &HeaderMap,
    ) -> Result<Arc<Principal>, Refusal> {
        let token = request::token(connection, headers);
        self.verify(snapshot, connection, token.as_deref()).await
    }

    async fn verify(
        &self,
        snapshot: &Snapshot,
        connection: &Connection,
        token: Option<&str>,
    ) -> Result<Arc<Principal>, Refusal> {
        request::identify(&self.parts, snapshot, connection, token).await
    }

    async fn decode(
        &self,
        (snapshot, connection): (&Snapshot, &Connection),
        target: wire::http::Target,
        arrival: Arrival,
        id: CallId,
        who: &Principal,
    ) -> Result<HttpCall, Refusal> {
        let place = (snapshot, connection);
        let mut room = self.bodies.room(who.key());
        request::decode(&self.parts, place, target, arrival, id, who, &mut room).await
    }
}

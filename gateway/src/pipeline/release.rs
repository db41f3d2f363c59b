//! Releasing a masked answer: every byte is recorded before it goes, and the end of the answer is
//! withheld until the end record is on stable storage.
//!
//! What is withheld: all of a short answer; the last data frame where the length is known; the
//! terminator and trailers of a chunked, HTTP/2 or event stream; the head where there is no body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;
use http_body::Frame;
use tokio::sync::mpsc;

use super::Ending;
use super::kept::{self, KEPT_BYTES_MAX};
use super::reply::{Aborted, Answer, Part, ReplyBody};
use super::standing::Standing;
use crate::gate::{Code, Executed, Refusal};
use crate::record::Outcome;
use crate::upstream::{Chunk, Masked};

/// Answers of an announced length up to this are gathered and released in one piece.
const GATHER_BYTES_MAX: u64 = 64 * 1024;
/// Frames that wait for a slow caller.
const FRAMES_MAX: usize = 8;
/// How long an approved call's answer is gathered for a caller that went away.
const KEEP_FOR_MAX: Duration = Duration::from_secs(60);
/// How long a caller may take no byte before the answer is cut.
const CALLER_IDLE_MAX: Duration = Duration::from_secs(60);

/// One answer on its way to the caller.
pub(super) struct Release<'a> {
    pub(super) masked: Masked,
    pub(super) answer: &'a mut Answer,
    pub(super) received: Instant,
    pub(super) standing: Standing<'a>,
}

impl Release<'_> {
    /// Release the whole answer.
    pub(super) async fn run(self) -> Ending {
        let head = self.masked.head();
        if head.bodiless {
            return self.bodiless().await;
        }
        match head.announced {
            Some(length) if length <= GATHER_BYTES_MAX => self.gathered().await,
            Some(_) | None => self.streamed().await,
        }
    }

    async fn bodiless(self) -> Ending {
        let head = self.masked.head().clone();
        // A masked answer's length would tell what was masked away.
        let length = head.length;
        self.finish(head, Bytes::new(), ReplyBody::Empty { length }, None)
            .await
    }

    async fn gathered(mut self) -> Ending {
        let mut body = BytesMut::new();
        loop {
            let Some(chunk) = self.next(None).await else {
                return self.cut("caller_gone").await;
            };
            match chunk {
                Chunk::Data(data) => body.extend_from_slice(&data),
                Chunk::End(None) => break,
                // Trailers need a framing that has a place for them.
                Chunk::End(Some(trailers)) => {
                    return self.with_trailers(body.freeze(), trailers).await;
                }
                Chunk::Broken(refusal) => return self.broken(refusal).await,
            }
        }
        let body = body.freeze();
        if let Err(error) = self.masked.released(&body).await {
            return unrecorded(self.answer, self.masked.receipt(), &error);
        }
        let head = self.masked.head().clone();
        self.finish(head, body.clone(), ReplyBody::Full(body), None)
            .await
    }

    /// Close the record, then send everything.
    async fn finish(
        self,
        head: crate::upstream::MaskedHead,
        body: Bytes,
        reply: ReplyBody,
        trailers: Option<&HeaderMap>,
    ) -> Ending {
        if let Some(refusal) = self.shut_out() {
            return self.broken(refusal).await;
        }
        let receipt = self.masked.receipt();
        let summary = self.masked.summary().clone();
        let in_function = self.masked.in_function();
        let gone = self.answer.is_gone();
        let kept = (gone && self.masked.ongoing().is_approved_execution())
            .then(|| kept::encode(self.answer.call, &receipt, &head, &body))
            .flatten();
        let (outcome, error) = if gone {
            (Outcome::Cut, Some("caller_gone"))
        } else {
            (outcome(&head), None)
        };
        match self
            .masked
            .close(outcome, error, self.received.elapsed(), trailers, kept)
            .await
        {
            Ok(()) => {
                self.answer.masked(receipt, &head, reply);
                Ending::answered(if gone { "cut" } else { "ok" }, summary, in_function)
            }
            Err(error) => unrecorded(self.answer, receipt, &error),
        }
    }

    async fn with_trailers(mut self, body: Bytes, trailers: HeaderMap) -> Ending {
        if let Err(error) = self.masked.released(&body).await {
            return unrecorded(self.answer, self.masked.receipt(), &error);
        }
        let (frames, parts) = mpsc::channel(FRAMES_MAX);
        let whole = [
            Part::Frame(Frame::data(body.clone())),
            Part::Frame(Frame::trailers(trailers.clone())),
            Part::End,
        ];
        for part in whole {
            // An empty channel has room for three; where one is missing the answer reads as broken off.
            let _full = frames.try_send(part);
        }
        let head = self.masked.head().clone();
        let reply = ReplyBody::Stream {
            length: None,
            parts,
        };
        self.finish(head, body, reply, Some(&trailers)).await
    }

    async fn streamed(mut self) -> Ending {
        let head = self.masked.head().clone();
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let body = ReplyBody::Stream {
            length: head.length,
            parts: receiver,
        };
        let mut gone = !self.answer.masked(self.masked.receipt(), &head, body);
        let approved = self.masked.ongoing().is_approved_execution();
        let mut keep = approved.then(BytesMut::new);
        let mut withheld: Option<Bytes> = None;
        let mut left: Option<Instant> = None;
        let trailers = loop {
            let late = gone && left.get_or_insert_with(Instant::now).elapsed() > KEEP_FOR_MAX;
            if late || (gone && keep.is_none()) {
                return self.cut("caller_gone").await;
            }
            let Some(chunk) = self.next(Some(&frames)).await else {
                return self.cut("caller_gone").await;
            };
            match chunk {
                Chunk::Data(data) if data.is_empty() => {}
                Chunk::Data(data) => {
                    if self.masked.released(&data).await.is_err() {
                        return abort(&frames, "the audit log failed");
                    }
                    keep = keep.filter(|kept| kept.len() + data.len() <= KEPT_BYTES_MAX);
                    if let Some(kept) = &mut keep {
                        kept.extend_from_slice(&data);
                    }
                    // Where the length is known the caller would take the last byte for the end.
                    let due = if head.length.is_some() {
                        withheld.replace(data)
                    } else {
                        Some(data)
                    };
                    if let (Some(due), false) = (due, gone) {
                        match self.hand_over(&frames, due).await {
                            Ok(taken) => gone = !taken,
                            Err(refusal) => return self.broken_off(&frames, &refusal).await,
                        }
                    }
                }
                Chunk::End(trailers) => break trailers,
                Chunk::Broken(refusal) => return self.broken_off(&frames, &refusal).await,
            }
        };
        let summary = self.masked.summary().clone();
        let in_function = self.masked.in_function();
        let kept = keep
            .filter(|_| gone)
            .and_then(|body| kept::encode(self.answer.call, &self.masked.receipt(), &head, &body));
        let (outcome, error) = if gone {
            (Outcome::Cut, Some("caller_gone"))
        } else {
            (outcome(&head), None)
        };
        let whole = self.received.elapsed();
        if self
            .masked
            .close(outcome, error, whole, trailers.as_ref(), kept)
            .await
            .is_err()
        {
            return abort(&frames, "the audit log failed");
        }
        gone |= !send_end(&frames, withheld, trailers).await;
        Ending::answered(if gone { "cut" } else { "ok" }, summary, in_function)
    }

    /// The next masked chunk, unless the caller is revoked meanwhile; `None` when the caller has gone,
    /// which `frames` shows once the answer is under way. An approved call runs to its end.
    async fn next(&mut self, frames: Option<&mpsc::Sender<Part>>) -> Option<Chunk> {
        let approved = self.masked.ongoing().is_approved_execution();
        let function = Arc::clone(self.masked.ongoing().function());
        let who = Arc::clone(self.masked.ongoing().principal());
        let answer = &mut *self.answer;
        let gone = async {
            match frames {
                _ if approved => std::future::pending().await,
                Some(frames) => frames.closed().await,
                None => answer.gone().await,
            }
        };
        // A function that always has more must not keep the revocation from being seen: it is asked first.
        tokio::select! {
            biased;
            () = gone => None,
            refusal = self.standing.lost(&who, function.id.connection().as_str(), Executed::Yes) => {
                Some(Chunk::Broken(refusal))
            }
            chunk = self.masked.chunk() => Some(chunk),
        }
    }

    /// Give the caller a frame: false when it is gone or takes nothing any more.
    ///
    /// # Errors
    /// The caller was revoked while it took its time.
    async fn hand_over(
        &mut self,
        frames: &mpsc::Sender<Part>,
        due: Bytes,
    ) -> Result<bool, Refusal> {
        let ongoing = self.masked.ongoing();
        let connection = ongoing.function().id.connection().as_str();
        let lost = self
            .standing
            .lost(ongoing.principal(), connection, Executed::Yes);
        tokio::select! {
            biased;
            taken = send(frames, Part::Frame(Frame::data(due))) => Ok(taken),
            refusal = lost => Err(refusal),
        }
    }

    /// Whether the caller was revoked by now.
    fn shut_out(&self) -> Option<Refusal> {
        let ongoing = self.masked.ongoing();
        let connection = ongoing.function().id.connection().as_str();
        self.standing
            .look(ongoing.principal(), connection, Executed::Yes)
    }

    async fn cut(self, why: &'static str) -> Ending {
        let summary = self.masked.summary().clone();
        let in_function = self.masked.in_function();
        let whole = self.received.elapsed();
        if let Err(error) = self
            .masked
            .close(Outcome::Cut, Some(why), whole, None, None)
            .await
        {
            tracing::error!(%error, "the end of a cut call could not be recorded");
        }
        Ending::answered("cut", summary, in_function)
    }

    /// Nothing was released yet: the caller gets a refusal.
    async fn broken(self, refusal: Refusal) -> Ending {
        let receipt = self.masked.receipt();
        let whole = self.received.elapsed();
        let outcome = broken_outcome(&refusal);
        match self
            .masked
            .close(outcome, Some(refusal.code.as_str()), whole, None, None)
            .await
        {
            Ok(()) => {
                let code = refusal.code.as_str();
                self.answer.refuse(refusal, Some(receipt), None);
                Ending::refused(code)
            }
            Err(error) => unrecorded(self.answer, receipt, &error),
        }
    }

    /// Parts were released: the stream must not end cleanly.
    async fn broken_off(self, frames: &mpsc::Sender<Part>, refusal: &Refusal) -> Ending {
        let whole = self.received.elapsed();
        let why = refusal.code.as_str();
        tracing::warn!(call.id = %self.answer.call, code = why, detail = refusal.operator.as_deref(),
            "an answer was broken off");
        let outcome = broken_outcome(refusal);
        if let Err(error) = self
            .masked
            .close(outcome, Some(why), whole, None, None)
            .await
        {
            tracing::error!(%error, "the end of a broken answer could not be recorded");
        }
        abort(frames, why)
    }
}

/// What was withheld until the end record was on stable storage. False when the caller is gone.
async fn send_end(
    frames: &mpsc::Sender<Part>,
    withheld: Option<Bytes>,
    trailers: Option<HeaderMap>,
) -> bool {
    let last = withheld.map(Frame::data);
    for frame in last.into_iter().chain(trailers.map(Frame::trailers)) {
        if !send(frames, Part::Frame(frame)).await {
            return false;
        }
    }
    send(frames, Part::End).await
}

const fn broken_outcome(refusal: &Refusal) -> Outcome {
    match refusal.executed {
        Executed::Yes => Outcome::Withheld,
        Executed::No | Executed::Unknown => Outcome::UpstreamError,
    }
}

fn outcome(head: &crate::upstream::MaskedHead) -> Outcome {
    if head.status.is_server_error() {
        Outcome::UpstreamError
    } else {
        Outcome::Ok
    }
}

fn abort(frames: &mpsc::Sender<Part>, why: &'static str) -> Ending {
    // Where there is no room for it the end is missing all the same, which reads as broken off.
    let _full = frames.try_send(Part::Aborted(Aborted(why)));
    Ending::refused("broken_off")
}

/// False when the caller is gone or takes nothing any more.
async fn send(frames: &mpsc::Sender<Part>, part: Part) -> bool {
    frames.send_timeout(part, CALLER_IDLE_MAX).await.is_ok()
}

fn unrecorded(answer: &mut Answer, receipt: String, error: &crate::record::Unavailable) -> Ending {
    let refusal = Refusal::new(
        Code::ResponseWithheld,
        "EXECUTED, but the audit log could not record the answer, which is withheld; do not repeat the call",
    )
    .executed(Executed::Yes)
    .operator(error.to_string());
    answer.refuse(refusal, Some(receipt), None);
    Ending::refused(Code::ResponseWithheld.as_str())
}

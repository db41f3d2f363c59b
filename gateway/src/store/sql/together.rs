//! Questions that arrive at the same time are written together: the embedded engine has one writer, and
//! a transaction of its own for each question would make the disk sync once for each.
//!
//! They are judged one after the other, in the order in which they came, each seeing what the one before
//! it wrote; nobody is answered before all of it is on the disk. One that fails takes nobody along: the
//! transaction is rolled back, and each is written alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Timestamp;

use super::super::Error;
use super::super::rows::{AskLimits, Asked, NewApproval};
use super::ask::ask;
use super::engine::Pool;

/// Most questions in one transaction: others wait for the writer too.
const TOGETHER_MAX: usize = 64;
/// Most questions that wait to be written.
const WAITING_MAX: usize = 10_000;
/// How long a question waits to be written.
const TURN: Duration = Duration::from_secs(10);

/// The questions that wait, and whether somebody is at them.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Question>,
    at_work: bool,
}

#[derive(Debug)]
struct Question {
    new: NewApproval,
    limits: AskLimits,
    now: Timestamp,
    answer: oneshot::Sender<Result<Asked, Error>>,
}

impl Questions {
    /// Write a question with whoever else asks now.
    pub(super) async fn ask(
        &self,
        writer: &Pool,
        new: NewApproval,
        limits: AskLimits,
        now: Timestamp,
    ) -> Result<Asked, Error> {
        let (answer, asked) = oneshot::channel();
        let question = Question {
            new,
            limits,
            now,
            answer,
        };
        if self.push(question)? {
            let (questions, writer) = (self.clone(), writer.clone());
            tokio::spawn(async move { questions.work(&writer).await });
        }
        match tokio::time::timeout(TURN, asked).await {
            Ok(Ok(asked)) => asked,
            // Whoever gives up is passed over, unless it is being written at this moment.
            Err(_) => Err(Error::Unwritten),
            // Its writer is gone, with the program.
            Ok(Err(_)) => Err(Error::Unwritten),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has to begin with the work.
    fn push(&self, question: Question) -> Result<bool, Error> {
        let mut queue = self.queue();
        if queue.waiting.len() >= WAITING_MAX {
            return Err(Error::Full(
                "the number of questions that wait to be written",
            ));
        }
        queue.waiting.push_back(question);
        Ok(!std::mem::replace(&mut queue.at_work, true))
    }

    /// The next ones that somebody still waits for; when there are none, the work is over.
    fn next(&self) -> Vec<Question> {
        let mut queue = self.queue();
        let mut next = Vec::new();
        while next.len() < TOGETHER_MAX
            && let Some(question) = queue.waiting.pop_front()
        {
            if !question.answer.is_closed() {
                next.push(question);
            }
        }
        queue.at_work = !next.is_empty();
        next
    }

    async fn work(&self, writer: &Pool) {
        let _ended = Ended(self);
        loop {
            let next = self.next();
            if next.is_empty() {
                return;
            }
            write(writer, next).await;
        }
    }
}

/// The work is over, also when it panics: the next question begins it again.
struct Ended<'a>(&'a Questions);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.queue();
            queue.at_work = false;
            queue.waiting.clear();
        }
    }
}

async fn write(writer: &Pool, questions: Vec<Question>) {
    match together(writer, &questions).await {
        Ok(asked) => {
            for (question, asked) in questions.into_iter().zip(asked) {
                // Whoever has gone comes again and joins.
                let _ = question.answer.send(Ok(asked));
            }
        }
        Err(error) if questions.len() > 1 => {
            tracing::debug!(%error, questions = questions.len(), "questions are written one by one");
            for question in questions {
                if question.answer.is_closed() {
                    continue;
                }
                let asked = together(writer, std::slice::from_ref(&question)).await;
                let asked =
                    asked.and_then(|asked| asked.into_iter().next().ok_or(Error::Unwritten));
                let _ = question.answer.send(asked);
            }
        }
        Err(error) => {
            if let Some(question) = questions.into_iter().next() {
                let _ = question.answer.send(Err(error));
            }
        }
    }
}

/// One transaction; what it answers is on the disk.
async fn together(writer: &Pool, questions: &[Question]) -> Result<Vec<Asked>, Error> {
    let mut tx = writer.writing().await?;
    let mut all = Vec::with_capacity(questions.len());
    for question in questions {
        all.push(ask(&mut tx, &question.new, &question.limits, question.now).await?);
    }
    tx.commit().await?;
    Ok(all)
}

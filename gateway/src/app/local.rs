//! What somebody at the machine does that stands in the audit log: through the gateway that runs there,
//! because a log has one writer, or as that writer while none runs.

use std::io::ErrorKind;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control::{Ask, ask};
use crate::call::CallId;
use crate::clock::SystemClock;
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record::{EraseError, Event, Held, Reading, Recorder, RootKey, Who, write_wrapped_root};
use crate::store::{self, Store as _};

/// Where the system's users have their names.
const USERS: &str = "/etc/passwd";

/// What is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Note {
    /// Somebody is about to read the evidence.
    Read {
        /// How.
        what: Reading,
        /// The call, when it is one.
        call: Option<CallId>,
        /// Filter, ids, files: never content.
        about: Value,
    },
    /// Destroy a subject's key.
    Shred {
        /// The issuer's alias.
        issuer: String,
        /// The subject.
        subject: String,
    },
    /// Keep a subject from being erased.
    HoldSubject {
        /// The issuer's alias.
        issuer: String,
        /// The subject.
        subject: String,
        /// Why.
        reason: String,
    },
    /// Keep a call's subject from being erased.
    HoldCall {
        /// The call.
        call: CallId,
        /// Its subject's pseudonym, as its record states it.
        subject_ref: String,
        /// Why.
        reason: String,
    },
    /// Put a root key that is wrapped anew in the old one's place.
    RotateRoot {
        /// The wrapped key.
        wrapped: String,
        /// Under what, for the record.
        id: String,
    },
    /// End a hold.
    Release {
        /// The hold's id.
        hold: String,
        /// Why.
        reason: String,
    },
}

/// Put it on record, and do it. Returns what was done.
///
/// # Errors
/// Why nothing was done; whoever wanted to read must then not be shown anything.
pub async fn note(loaded: &Loaded, note: Note) -> Result<String, String> {
    note_as(loaded, None, note).await
}

/// The same, with the root key as it is now, where that is not as the config says.
pub(super) async fn note_as(
    loaded: &Loaded,
    root: Option<RootKey>,
    note: Note,
) -> Result<String, String> {
    let asked = Ask::Note { note: note.clone() };
    match ask(&loaded.data(), &asked).await {
        Ok(answer) if answer.done => return Ok(answer.text),
        Ok(answer) => return Err(answer.text),
        // No gateway runs here: its socket is gone, or nobody is behind it.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) => {}
        Err(error) => {
            return Err(format!(
                "the gateway that has `{}` did not answer: {error}",
                loaded.data().display()
            ));
        }
    }
    let mut config = super::audit_config(loaded).map_err(|error| error.to_string())?;
    config.root = match root {
        Some(root) => root,
        None => super::root_key(loaded).await.map_err(|e| e.to_string())?,
    };
    let (recorder, _) = Recorder::open(config, Arc::new(RealDisk), Arc::new(SystemClock))
        .map_err(|error| format!("audit log: {error}"))?;
    let who = user(rustix::process::getuid().as_raw());
    let done = perform(&recorder, loaded, who, note).await;
    recorder.shutdown().await;
    done
}

pub(super) async fn perform(
    recorder: &Recorder,
    loaded: &Loaded,
    who: Who,
    note: Note,
) -> Result<String, String> {
    match note {
        Note::Read { what, call, about } => {
            let event = Event::AuditRead {
                who,
                what,
                call,
                content: about,
            };
            let index = recorder.note(event).await.map_err(|e| e.to_string())?;
            Ok(format!("recorded as {index}"))
        }
        Note::Shred { issuer, subject } => shred(recorder, loaded, who, (&issuer, &subject)).await,
        Note::HoldSubject {
            issuer,
            subject,
            reason,
        } => hold(recorder, Held::Subject { issuer, subject }, &reason, who).await,
        Note::HoldCall {
            call,
            subject_ref,
            reason,
        } => hold(recorder, Held::Call { call, subject_ref }, &reason, who).await,
        Note::RotateRoot { wrapped, id } => {
            let event = Event::KeyRotated {
                key: "root",
                id: id.clone(),
            };
            recorder.note(event).await.map_err(|e| e.to_string())?;
            let dir = super::audit_dir(&loaded.data());
            // A sync may take long, or hang: not on the threads that serve calls.
            let writing =
                tokio::task::spawn_blocking(move || write_wrapped_root(&RealDisk, &dir, &wrapped));
            let written = writing.await.map_err(|e| e.to_string())?;
            written.map_err(|e| e.to_string())?;
            Ok(format!("the root key is wrapped under {id} now"))
        }
        Note::Release { hold, reason } => {
            let released = recorder.release(&hold, &reason, who).await;
            released.map_err(|e| e.to_string())?;
            Ok(format!("hold {hold} is released"))
        }
    }
}

/// Erase somebody: what the state keeps of them is marked first, so that it goes whatever happens behind the record.
async fn shred(
    recorder: &Recorder,
    loaded: &Loaded,
    who: Who,
    (issuer, subject): (&str, &str),
) -> Result<String, String> {
    let refused = |error: EraseError| error.to_string();
    recorder.may_shred(issuer, subject).await.map_err(refused)?;
    let untouched = |error: store::Error| {
        format!(
            "nothing is erased: what the state database keeps of them could not be marked: {error}"
        )
    };
    let store = super::state::open(loaded).await.map_err(untouched)?;
    let marked = store.mark_subject(issuer, subject).await;
    let dead = match marked.map_err(untouched) {
        Ok(()) => {
            let dead = recorder.shred(issuer, subject, Some(who)).await;
            dead.map_err(refused)
        }
        Err(text) => Err(text),
    };
    let erased = match &dead {
        Ok(_) => store.erase_subject(issuer, subject).await,
        Err(_) => Ok(()),
    };
    store.close().await;
    let dead = dead?;
    erased.map_err(|error| {
        format!(
            "the key behind pseudonym {dead} is destroyed, but not all that the state database keeps of their calls: \
             names go when a running gateway next tidies up, what was typed within a week: {error}"
        )
    })?;
    Ok(format!(
        "erased: the key behind pseudonym {dead} is destroyed; destroy backups of `audit/keys` that are \
         older, or restore them with `callgate restore` only"
    ))
}

async fn hold(recorder: &Recorder, held: Held, reason: &str, who: Who) -> Result<String, String> {
    let id = recorder.hold(held, reason, who).await;
    let id = id.map_err(|error| error.to_string())?;
    Ok(format!(
        "hold {id} stands; end it with `callgate audit release {id} --reason …`"
    ))
}

/// A user of the system, by the name that it has for them.
pub(super) fn user(uid: u32) -> Who {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    Who::local_user(&name_of(uid, &users).unwrap_or_else(|| format!("uid {uid}")))
}

fn name_of(uid: u32, users: &str) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let theirs: u32 = fields.nth(1)?.parse().ok()?;
        (theirs == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn users_have_the_names_that_the_system_gives_them() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_of(0, users).as_deref(), Some("root"));
        assert_eq!(name_of(1000, users).as_deref(), Some("ann"));
        assert_eq!(name_of(100, users), None);
    }
}

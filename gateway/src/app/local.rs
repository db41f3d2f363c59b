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
use crate::record::{Event, Reading, Recorder, Who};

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
}

/// Put it on record, and do it. Returns what was done.
///
/// # Errors
/// Why nothing was done; whoever wanted to read must then not be shown anything.
pub async fn note(loaded: &Loaded, note: Note) -> Result<String, String> {
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
    let config = super::audit_config(loaded).map_err(|error| error.to_string())?;
    let (recorder, _) = Recorder::open(config, Arc::new(RealDisk), Arc::new(SystemClock))
        .map_err(|error| format!("audit log: {error}"))?;
    let done = perform(&recorder, user(rustix::process::getuid().as_raw()), note).await;
    recorder.shutdown().await;
    done
}

pub(super) async fn perform(recorder: &Recorder, who: Who, note: Note) -> Result<String, String> {
    match note {
        Note::Read { what, call, about } => {
            let event = Event::AuditRead {
                who,
                what,
                call,
                content: about,
            };
            recorder
                .note(event)
                .await
                .map(|index| format!("recorded as {index}"))
                .map_err(|error| error.to_string())
        }
    }
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

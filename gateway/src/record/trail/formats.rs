//! Records in the forms that other systems read: JSON lines, OCSF API Activity, CEF.
//!
//! Only what stands in clear is handed out; where a call came from and who made it stay sealed, and a
//! caller appears under the pseudonym that the records use.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::Error;
use super::super::leaf::nanos_from_text;
use super::Trail;

/// The OCSF version whose class is written.
const OCSF_VERSION: &str = "1.3.0";
/// OCSF: Application Activity, and in it API Activity.
const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
/// Calls under way whose begin is remembered until their end comes; more are handed out without it.
const OPEN_MAX: usize = 100_000;

/// A form that other systems read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Every record, its exact bytes in a line.
    JsonLines,
    /// One OCSF API Activity event (class 6003) for each call that ended or was denied.
    Ocsf,
    /// The same calls as ArcSight CEF.
    Cef,
}

/// Turns records, in their order, into lines.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    origin: String,
    open: HashMap<String, Value>,
}

impl Formatter {
    /// For the log of this origin.
    pub fn new(format: Format, origin: &str) -> Self {
        Self {
            format,
            origin: origin.to_owned(),
            open: HashMap::new(),
        }
    }

    /// The oldest record that a later one may still need: a begin whose end has not come.
    pub fn oldest_open(&self) -> Option<u64> {
        let open = self.open.values();
        open.filter_map(|begin| begin.get("seq")?.as_u64()).min()
    }

    /// The line of the next record, if it makes one.
    pub fn line(&mut self, leaf: &[u8]) -> Option<String> {
        if self.format == Format::JsonLines {
            // Records are ASCII in one line: nothing is lost, and nothing can break the line.
            return Some(String::from_utf8_lossy(leaf).into_owned());
        }
        let fields: Value = serde_json::from_slice(leaf).ok()?;
        let call = text(&fields, "call")?.to_owned();
        let (first, last) = match text(&fields, "kind")? {
            "call.begin" => {
                if self.open.len() < OPEN_MAX {
                    self.open.insert(call, fields);
                }
                return None;
            }
            "call.end" => (self.open.remove(&call).unwrap_or(Value::Null), fields),
            "call.deny" => (fields.clone(), fields),
            _ => return None,
        };
        let told = Told::of(&self.origin, &first, &last);
        Some(match self.format {
            Format::Cef => told.cef(),
            Format::Ocsf | Format::JsonLines => told.ocsf().to_string(),
        })
    }
}

impl Trail {
    /// Hand out the records from index `from` on, a line at a time.
    ///
    /// # Errors
    /// What `put` says, as [`Error::Disk`]; [`Error::Corrupt`].
    pub fn hand_out(
        &self,
        format: Format,
        from: u64,
        put: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<u64, Error> {
        let mut formatter = Formatter::new(format, self.origin());
        let mut lines = 0;
        self.each_leaf(&mut |index, leaf| {
            // Earlier begins are looked at, because their ends may come later.
            if let Some(line) = formatter.line(leaf).filter(|_| index >= from) {
                lines += 1;
                put(&line).map_err(|source| Error::disk("write", "the export".as_ref(), source))?;
            }
            Ok(())
        })?;
        Ok(lines)
    }
}

fn text<'f>(fields: &'f Value, name: &str) -> Option<&'f str> {
    fields.get(name)?.as_str()
}

/// What two records tell of a call.
struct Told<'t> {
    origin: &'t str,
    first: &'t Value,
    last: &'t Value,
    outcome: &'t str,
    good: bool,
    denied: bool,
}

impl<'t> Told<'t> {
    fn of(origin: &'t str, first: &'t Value, last: &'t Value) -> Self {
        let denied = text(last, "kind") == Some("call.deny");
        let outcome = if denied {
            text(last, "reason").unwrap_or("denied")
        } else {
            text(last, "outcome").unwrap_or("unknown")
        };
        Self {
            origin,
            first,
            last,
            outcome,
            good: outcome == "ok" && !denied,
            denied,
        }
    }

    fn word(&self, name: &str) -> Option<&str> {
        text(self.first, name).or_else(|| text(self.last, name))
    }

    fn function(&self) -> &str {
        self.word("function").unwrap_or("unknown")
    }

    fn connection(&self) -> &str {
        let of_function = self
            .function()
            .split_once('/')
            .map(|(connection, _)| connection);
        self.word("connection").or(of_function).unwrap_or("unknown")
    }

    fn millis(fields: &Value) -> Option<u64> {
        nanos_from_text(text(fields, "t")?).map(crate::clock::Timestamp::millis)
    }

    fn seq(&self) -> u64 {
        self.last.get("seq").and_then(Value::as_u64).unwrap_or(0)
    }

    fn uid(&self) -> String {
        format!("{}#{}", self.origin, self.seq())
    }

    fn activity(&self) -> (u64, &'static str) {
        match self.word("method") {
            Some("POST") => (1, "Create"),
            Some("GET" | "HEAD") => (2, "Read"),
            Some("PUT" | "PATCH") => (3, "Update"),
            Some("DELETE") => (4, "Delete"),
            Some(_) | None => (99, "Other"),
        }
    }

    fn ocsf(&self) -> Value {
        let (activity, name) = self.activity();
        let status = self.last.get("status").and_then(Value::as_u64);
        let caller = self.word("subject_ref").unwrap_or("unknown");
        let mut event = json!({
            "category_uid": CATEGORY, "category_name": "Application Activity",
            "class_uid": CLASS, "class_name": "API Activity",
            "activity_id": activity, "activity_name": name, "type_uid": CLASS * 100 + activity,
            "severity_id": if self.good { 1 } else { 3 },
            "severity": if self.good { "Informational" } else { "Medium" },
            "status_id": if self.good { 1 } else { 2 },
            "status": if self.good { "Success" } else { "Failure" },
            "status_detail": self.outcome,
            "action_id": if self.denied { 2 } else { 1 },
            "disposition_id": if self.denied { 2 } else { 1 },
            "time": Self::millis(self.last),
            "message": format!("{}: {}", self.function(), self.outcome),
            "metadata": {
                "version": OCSF_VERSION, "profiles": ["security_control"],
                "product": { "name": "Callgate", "vendor_name": "Callgate" },
                "log_name": self.origin, "uid": self.uid(), "sequence": self.seq(),
                "correlation_uid": self.word("call"),
            },
            "api": {
                "operation": self.function(), "service": { "name": self.connection() },
                "request": { "uid": self.word("call") },
            },
            "actor": {
                "user": { "uid": caller, "type": self.word("principal_kind") },
                "idp": { "name": self.word("issuer") },
            },
            // Where a call came from is sealed: its caller's pseudonym stands for the place as well.
            "src_endpoint": { "uid": caller },
            "unmapped": self.rest(),
        });
        let mut put = |pointer: &str, name: &str, value: Option<Value>| {
            let place = event.pointer_mut(pointer).and_then(Value::as_object_mut);
            if let (Some(place), Some(value)) = (place, value) {
                place.insert(name.to_owned(), value);
            }
        };
        put(
            "",
            "status_code",
            status.map(|status| status.to_string().into()),
        );
        put(
            "/api",
            "response",
            status.map(|status| json!({ "code": status })),
        );
        put("", "duration", self.last.get("total_ms").cloned());
        if !self.denied {
            put("", "start_time", Self::millis(self.first).map(Value::from));
            put(
                "",
                "dst_endpoint",
                self.word("upstream").map(|name| json!({ "name": name })),
            );
        }
        event
    }

    /// What OCSF has no place for.
    fn rest(&self) -> Map<String, Value> {
        let names = [
            "effect",
            "policies",
            "approval",
            "config_version",
            "policy_version",
            "mask",
            "masked",
            "scrubbed",
            "upstream_ms",
            "begin",
        ];
        let value = |name: &str| {
            self.last
                .get(name)
                .or_else(|| self.first.get(name))
                .cloned()
        };
        let found = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), value(name)?)));
        found.collect()
    }

    fn cef(&self) -> String {
        let (_, activity) = self.activity();
        let class = if self.denied { "deny" } else { "call" };
        let severity = if self.good { 3 } else { 6 };
        let mut line = format!(
            "CEF:0|Callgate|Callgate|1|{class}.{}|{}|{severity}|",
            header(self.outcome),
            header(self.function())
        );
        let number = |name: &str| self.last.get(name).and_then(Value::as_u64);
        let bytes = |name: &str| {
            let part = self.last.get(name).or_else(|| self.first.get(name))?;
            part.get("bytes").and_then(Value::as_u64)
        };
        let policies = self.word_list("policies");
        let members = [
            ("rt", Self::millis(self.last).map(|ms| ms.to_string())),
            ("externalId", self.word("call").map(ToOwned::to_owned)),
            ("act", Some(activity.to_owned())),
            ("outcome", Some(self.outcome.to_owned())),
            ("suid", self.word("subject_ref").map(ToOwned::to_owned)),
            ("spriv", self.word("principal_kind").map(ToOwned::to_owned)),
            ("requestMethod", self.word("method").map(ToOwned::to_owned)),
            ("in", bytes("request").map(|bytes| bytes.to_string())),
            ("out", bytes("released").map(|bytes| bytes.to_string())),
            ("cn1Label", number("status").map(|_| "status".to_owned())),
            ("cn1", number("status").map(|status| status.to_string())),
            (
                "cn2Label",
                number("total_ms").map(|_| "milliseconds".to_owned()),
            ),
            ("cn2", number("total_ms").map(|ms| ms.to_string())),
            ("cs1Label", policies.as_ref().map(|_| "policies".to_owned())),
            ("cs1", policies),
            ("cs2Label", Some("record".to_owned())),
            ("cs2", Some(self.uid())),
            ("cs3Label", self.word("issuer").map(|_| "issuer".to_owned())),
            ("cs3", self.word("issuer").map(ToOwned::to_owned)),
        ];
        let members = members.into_iter();
        let members: Vec<String> = members
            .filter_map(|(name, value)| Some(format!("{name}={}", extension(&value?))))
            .collect();
        line.push_str(&members.join(" "));
        line
    }

    fn word_list(&self, name: &str) -> Option<String> {
        let list = self.first.get(name)?.as_array()?;
        let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        (!words.is_empty()).then(|| words.join(","))
    }
}

/// A field of CEF's header: pipes and backslashes are escaped, line ends cannot stand there.
fn header(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('|', "\\|");
    text.replace(['\n', '\r'], " ")
}

/// A value of CEF's extension: equal signs, backslashes and line ends are escaped.
fn extension(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('=', "\\=");
    text.replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn golden(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/export")
            .join(name)
    }

    fn made(format: Format) -> String {
        let records = fs::read_to_string(golden("records.jsonl")).unwrap();
        let mut formatter = Formatter::new(format, "callgate.example.com/eu-1");
        let lines = records
            .lines()
            .filter_map(|leaf| formatter.line(leaf.as_bytes()));
        lines.map(|line| line + "\n").collect()
    }

    /// `UPDATE_GOLDEN=1` writes them anew.
    #[test]
    fn records_are_handed_out_as_the_golden_files_say() {
        for (format, name) in [
            (Format::JsonLines, "records.jsonl"),
            (Format::Ocsf, "calls.ocsf.jsonl"),
            (Format::Cef, "calls.cef"),
        ] {
            let made = made(format);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(golden(name), &made).unwrap();
            }
            assert_eq!(fs::read_to_string(golden(name)).unwrap(), made, "{name}");
        }
    }

    #[test]
    fn every_event_has_what_its_class_requires() {
        let events = made(Format::Ocsf);
        assert_eq!(events.lines().count(), 4);
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            for name in [
                "activity_id",
                "category_uid",
                "class_uid",
                "type_uid",
                "severity_id",
                "time",
                "metadata",
                "api",
                "actor",
                "src_endpoint",
            ] {
                assert!(!event[name].is_null(), "{name}: {line}");
            }
            assert!(event.pointer("/metadata/product/vendor_name").is_some());
            assert!(event.pointer("/api/operation").is_some());
            assert!(event.pointer("/actor/user/uid").is_some());
            let activity = event["activity_id"].as_u64().unwrap();
            assert_eq!(event["type_uid"].as_u64().unwrap(), 600_300 + activity);
        }
    }

    #[test]
    fn text_of_records_cannot_break_a_line_or_a_field() {
        let nasty = "a|b\\c=d\ne\r";
        let leaf = json!({
            "v": 1, "kind": "call.deny", "seq": 1, "t": "2026-01-02T03:04:05.000000000Z", "call": "c",
            "reason": nasty, "function": nasty, "policies": [nasty], "subject_ref": nasty,
        });
        let mut formatter = Formatter::new(Format::Cef, "o");
        let line = formatter.line(leaf.to_string().as_bytes()).unwrap();
        assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
        assert!(
            line.contains("|deny.a\\|b\\\\c=d e |a\\|b\\\\c=d e |6|"),
            "{line}"
        );
        assert!(line.contains("cs1=a|b\\\\c\\=d\\ne\\r"), "{line}");
    }
}

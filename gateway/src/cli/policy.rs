//! `callgate policy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::check::snapshot;
use super::{load, print};
use crate::approval::terminal_safe;
use crate::policy::{Decision, DenialReason, Explanation, NearMiss, cases};

/// What to do with policies.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the Cedar schema that the functions make, for editors.
    Schema,
    /// Explain one decision: which policies matched, and why.
    Explain {
        /// A case file (YAML) with `as`, `call` and `input`, as in `policy test`.
        case: PathBuf,
    },
    /// Judge recorded calls by a draft of the policies. Exit code 0: none would be decided differently,
    /// 2: some would, 3: none would, but some could not be evaluated.
    Simulate(super::simulate::Args),
    /// What shadow policies would have made of recorded calls.
    Shadow(super::shadow::Args),
    /// Write first policies out of calls that passed on connections that only observe, and that no policy
    /// permits.
    Suggest(super::suggest::PolicyArgs),
    /// Run cases (YAML): who calls what with which input, and what must come out.
    Test {
        /// The case files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    let loaded = || load(config).and_then(|loaded| snapshot(&loaded));
    match command {
        Command::Suggest(args) => super::suggest::policies(config, args).await,
        Command::Shadow(args) => super::shadow::run(config, args).await,
        Command::Simulate(args) => super::simulate::run(config, args).await,
        Command::Schema => {
            let snapshot = loaded()?;
            print(snapshot.policies.schema_text());
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain { case } => {
            let snapshot = loaded()?;
            for case in &read(case)? {
                let report = snapshot.policies.run(case);
                print(&terminal_safe(&report.name));
                if let Some(explanation) = &report.explanation {
                    explain(explanation)
                        .iter()
                        .for_each(|line| print(&format!("  {}", terminal_safe(line))));
                }
                report
                    .differences
                    .iter()
                    .for_each(|line| print(&format!("  differs: {}", terminal_safe(line))));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { files } => {
            let snapshot = loaded()?;
            let (mut passed, mut failed) = (0, 0);
            for file in files {
                for case in &read(file)? {
                    let report = snapshot.policies.run(case);
                    if report.passed() {
                        passed += 1;
                        continue;
                    }
                    failed += 1;
                    print(&format!("FAILED {}", terminal_safe(&report.name)));
                    report
                        .differences
                        .iter()
                        .for_each(|line| print(&format!("  {}", terminal_safe(line))));
                }
            }
            print(&format!("{passed} passed, {failed} failed"));
            Ok(if failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<cases::Case>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(cases::parse(&file.display().to_string(), &text)?)
}

fn explain(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![match &explanation.decision {
        Decision::Allow(obligations) => {
            let unmasked: Vec<_> = obligations
                .unmask()
                .iter()
                .map(ToString::to_string)
                .collect();
            let unmasked = if unmasked.is_empty() {
                "nothing".to_owned()
            } else {
                unmasked.join(", ")
            };
            format!("allow; unmasked: {unmasked}")
        }
        Decision::Deny(denial) => format!("deny: {}", reason(&denial.reason)),
        Decision::Ask(terms) => {
            let rules: Vec<_> = terms.rules.iter().map(|rule| rule.id.as_str()).collect();
            format!("ask: people can open {}", rules.join(", "))
        }
    }];
    for matched in &explanation.matched {
        let opened = if matched.opened { " (opened)" } else { "" };
        lines.push(format!(
            "{} {} at {}{opened}",
            matched.effect.as_str(),
            matched.id,
            matched.place
        ));
    }
    lines.extend(explanation.failed.iter().map(|failed| {
        format!(
            "error in {} at {}: {}",
            failed.id, failed.place, failed.what
        )
    }));
    lines.extend(explanation.near_misses.iter().map(|miss| match miss {
        NearMiss::Condition(id) => {
            format!("near miss: {id} is for such callers, but its conditions are not met")
        }
        NearMiss::Principal(id) => format!("near miss: {id} is for other callers"),
    }));
    lines.extend(explanation.shadowed.iter().map(|shadowed| {
        format!(
            "shadow, not enforced: it would be `{}` with {}",
            shadowed.decided,
            shadowed.policies.join(", ")
        )
    }));
    lines.push(format!("{} policies evaluated", explanation.evaluated));
    lines
}

fn reason(reason: &DenialReason) -> String {
    match reason {
        DenialReason::NoPermit => "no policy permits it".to_owned(),
        DenialReason::Forbidden => "a policy forbids it".to_owned(),
        DenialReason::Error(text) => format!("a policy could not be evaluated: {text}"),
    }
}

//! Integration tests: one binary, a module per story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this crate is nothing but tests: a failure may stop it, and its peers need sockets"
)]

mod adopt;
mod approvals_guide;
mod callers_jobs;
mod callers_matrix;
mod calls_approvals;
mod calls_changes;
mod calls_crashes;
mod calls_glass;
mod calls_grants;
mod calls_secrets;
mod calls_voters;
mod cli_login;
mod compile_fail;
#[cfg(feature = "demo")]
mod console_api;
#[cfg(feature = "demo")]
mod console_approve;
#[cfg(feature = "demo")]
mod console_browser;
#[cfg(feature = "demo")]
mod console_login;
mod crash;
#[cfg(feature = "demo")]
mod demo_idp;
mod evidence_bundle;
mod evidence_guide;
mod evidence_witness;
mod export_live;
mod generated;
mod governed;
mod http_corpus;
mod http_failures;
mod http_floods;
mod http_headers;
mod http_limits;
mod http_promises;
mod http_revoked;
mod http_streams;
mod http_tls;
mod http_unchecked;
mod http_upgrades;
mod http_world;
mod identity;
mod keep_backup;
mod keep_erases;
mod keep_reads;
mod keep_rootkey;
mod mask_answers;
mod mask_budget;
mod mask_requests;
mod mask_tokens;
mod named_tests;
mod notify;
mod notify_slack;
mod observe;
mod operate_disk;
mod operate_faults;
mod operate_instances;
mod operate_run;
mod peers;
mod simulate;
mod support;
mod tidy;

//! The guide's jobs of CI services, run as their runners run them: they wait for people, and fail when those say no.

use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use super::approvals_guide::{lead, setup};
use super::support::function::Double;
use super::support::gateway::{Gateway, caller, eventually};
use super::support::raw;

const GUIDE: &str = include_str!("../../../docs/guide/what-a-caller-sees.md");

const POLICIES: &str = r#"
@id("jobs") permit (principal in Group::"corp/jobs", action in Action::"call", resource);
@id("asked") @approval("corp/payments-leads") forbid (principal, action in Action::"write", resource);
@id("leads") permit (principal in Group::"corp/payments-leads", action == Action::"approve", resource);
"#;

/// The shell of a job, by the service whose name its comment begins with.
fn shell(service: &str) -> String {
    let mut blocks = GUIDE.split("```yaml\n").skip(1);
    let block = blocks.find(|block| block.starts_with(&format!("# {service}")));
    let (block, _) = block
        .and_then(|block| block.split_once("```"))
        .expect("a job");
    let job: Value = serde_saphyr::from_str(block).expect("YAML");
    let line = match service {
        "GitHub" => &job[0]["run"],
        _ => &job["refund"]["script"][0],
    };
    line.as_str().expect("a line of shell").to_owned()
}

/// GitHub's runner uses `bash -e`; GitLab's does the same with each line of a script.
fn run(gateway: &Gateway, service: &str) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &shell(service)]);
    bash.env("GATEWAY", format!("http://{}", gateway.address));
    bash.env("TOKEN", caller(&format!("job-of-{service}"), &["jobs"]));
    bash.output().expect("bash")
}

/// Answer the one question of this job.
fn decide(gateway: &Gateway, service: &str, answer: &[&str]) {
    let id = eventually("a question", || {
        let path = "/api/v1/approvals?state=pending";
        let page = raw::get(gateway.console, path, Some(&lead("lena"))).json();
        let mut all = page["approvals"].as_array()?.iter();
        let of_job = |one: &&Value| one["requester"]["subject"] == format!("job-of-{service}");
        Some(all.find(of_job)?["id"].as_str()?.to_owned())
    });
    let (good, text) = gateway.approvals(
        &lead("lena"),
        &[&answer[..1], &[&id], &answer[1..]].concat(),
    );
    assert!(good, "{text}");
}

#[test]
fn the_guides_jobs_wait_for_people_and_fail_when_they_say_no() {
    let double = Double::start();
    let gateway = setup(&double, &[&POLICIES.to_owned()]).start();
    for service in ["GitHub", "GitLab"] {
        for (answer, good, said) in [
            (vec!["approve"], true, "{\"ok\":true}"),
            (
                vec!["deny", "--reason", "not before Monday"],
                false,
                "not before Monday",
            ),
        ] {
            let done = thread::scope(|scope| {
                let job = scope.spawn(|| run(&gateway, service));
                decide(&gateway, service, &answer);
                job.join().expect("a job")
            });
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            assert_eq!(done.status.success(), good, "{service}: {text}");
            assert!(text.contains(said), "{service}: {text}");
        }
    }
    assert_eq!(double.hits("/refunds"), 2);
}

//! Approvals while the gateway changes under them: other rules, a restart.

use super::calls_approvals::{staff, start, told};
use super::support::gateway::person;

#[test]
fn a_rule_that_came_after_the_vote_supersedes_it() {
    let mut world = start();
    let token = staff("sue");
    let id = world.ask("/brief/rules", &token, 2);
    world.approve(&id);
    let second = "@id(\"security-too\") @approval(\"corp/security\")\n\
        forbid (principal, action == Action::\"brief/post\", resource);\n\
        @id(\"security-approves\") permit (principal in Group::\"corp/security\", action == Action::\"approve\", resource);";
    let report = world.gateway.reload(|setup| setup.policy(second), &[]);
    assert!(report.contains("security-too"), "{report}");
    // The approval that people opened does not cover the new rule, whichever way its caller comes.
    told(
        &world.own("POST", &id, "/run", &token),
        409,
        "superseded",
        "no",
    );
    assert_eq!(
        (
            world.state(&id, &token).as_str(),
            world.double.hits("/rules")
        ),
        ("superseded", 0)
    );
    let next = world.ask("/brief/rules", &token, 2);
    assert_ne!(next, id);
    assert_eq!(world.double.hits("/rules"), 0);
    // The rule that stayed the same is still open; the new one is asked.
    let (good, text) = world
        .gateway
        .approvals(&person("sid", &["security"]), &["approve", &next]);
    assert!(good, "{text}");
    let answer = world.send("/brief/rules", &token, 2);
    if answer.status == 429 {
        world.approve(&next);
        assert_eq!(world.send("/brief/rules", &token, 2).status, 200);
    } else {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(world.double.hits("/rules"), 1);
    // What opens a door must be said aloud.
    let before = world.gateway.try_command(&["reload"], &[]);
    assert!(before.0, "{}", before.1);
}

#[test]
fn an_approval_outlives_a_restart_and_still_runs_once() {
    // R12
    let mut world = start();
    let token = staff("rolf");
    let (pending, approved) = (
        world.ask("/brief/restart-1", &token, 1),
        world.ask("/brief/restart-2", &token, 1),
    );
    world.approve(&approved);
    world.gateway.restart();
    world.approve(&pending);
    for target in ["/brief/restart-1", "/brief/restart-2"] {
        let answer = world.send(target, &token, 1);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_ne!(world.send(target, &token, 1).status, 200);
    }
    assert_eq!(
        (
            world.double.hits("/restart-1"),
            world.double.hits("/restart-2")
        ),
        (1, 1)
    );
}

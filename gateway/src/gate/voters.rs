//! Whether those who opened a call may still open it at the moment when it runs.

use std::collections::BTreeSet;

use super::told::{RETRY_AFTER, failed};
use super::{ApprovalNotice, Code, Gate, Refusal};
use crate::approval::{Execution, Voided, Voter};
use crate::call::FunctionId;
use crate::identity::PrincipalKey;
use crate::policy::Policies;

impl Gate {
    /// The execution, if the votes of people who may still approve are enough. Everybody who voted yes
    /// is looked up in the revocations and judged by the policies in force, as they were verified for
    /// their vote; who fails is voided, and when the others are not enough people are asked again.
    pub(super) async fn still_opened(
        &self,
        execution: Execution,
        policies: &Policies,
    ) -> Result<Execution, Refusal> {
        let fallen = self.fallen(&execution, policies);
        if fallen.is_empty() {
            return Ok(execution);
        }
        let notice = ApprovalNotice {
            id: execution.id().to_string(),
            expires: execution.decide_by().to_string(),
            reason: None,
        };
        tracing::warn!(
            approval.id = %execution.id(),
            votes = fallen.len(),
            "people who approved a call may not approve any more; their votes do not count"
        );
        let fallen: Vec<PrincipalKey> = fallen.into_iter().collect();
        match self.approvals.void(execution, &fallen).await {
            Ok(Voided::Still(execution)) => Ok(*execution),
            Ok(Voided::Reopened) => {
                let text = "NOT executed: waiting for approval";
                let refusal = Refusal::new(Code::ApprovalPending, text).retry_after(RETRY_AFTER);
                Err(refusal.approval(notice))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn fallen(&self, execution: &Execution, policies: &Policies) -> BTreeSet<PrincipalKey> {
        let voters = execution.voters().iter();
        voters
            .filter(|voter| !self.may_still(voter, execution, policies))
            .map(|voter| voter.key.clone())
            .collect()
    }

    fn may_still(&self, voter: &Voter, execution: &Execution, policies: &Policies) -> bool {
        let Some(snapshot) = &voter.snapshot else {
            // A vote of an older version, which kept nothing that could be judged.
            return false;
        };
        let mut rules = execution.terms().rules.iter();
        let Some(rule) = rules.find(|rule| rule.hash == voter.rule) else {
            return false;
        };
        if snapshot.is_revoked(&voter.key, &self.revocations) {
            return false;
        }
        let function: &FunctionId = execution.function();
        let subject = snapshot.subject(&voter.key);
        let may = match voter.glass {
            true => policies.may_break_glass(&subject, rule, function, snapshot.facts()),
            false => policies.may_approve(&subject, rule, function, snapshot.facts()),
        };
        may.unwrap_or_else(|error| {
            tracing::error!(%error, "the right to approve could not be judged again: no");
            false
        })
    }
}

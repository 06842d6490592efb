//! Who may do what: the policies that govern this federation, from the operator's signed bundle or those that ship.

use std::sync::Arc;

use policy_as_code::bundle::Served;
use policy_as_code::governance::{self, Answer, Caller, Request};
use policy_as_code::journal::JournalError;
use shared::audit::AuditKind;
use tokio_util::sync::CancellationToken;

use crate::{Config, Coordinator, Error};

/// The policies that decide.
pub(crate) enum Governance {
    /// Those that ship.
    Shipped(Box<governance::Governance>),
    /// The operator's, which change while the coordinator runs.
    Served(Arc<Served>),
}

impl Governance {
    /// The policies that the configuration names. Every bundle stands in the audit log before it is in force.
    pub(crate) fn open(config: &Config, coordinator: &Arc<Coordinator>) -> Result<Self, Error> {
        let Some(source) = config.policy.clone() else {
            return Self::shipped();
        };
        let (kept, coordinator) = (config.data_dir.join("policy-in-force.json"), Arc::clone(coordinator));
        let record = move |content| {
            let recorded = coordinator.journal.record(AuditKind::Bundle, coordinator.now(), &content);
            recorded.map_err(|error| JournalError { reason: error.to_string() })
        };
        Ok(Self::Served(Arc::new(Served::open(source, kept, Box::new(record))?)))
    }

    /// The policies that ship.
    pub(crate) fn shipped() -> Result<Self, Error> {
        Ok(Self::Shipped(Box::new(governance::Governance::shipped()?)))
    }

    /// Refuses what the policies do not permit.
    pub(crate) fn permit(&self, request: &Request<'_>) -> Result<(), Error> {
        let answer = self.decide(request);
        if answer.allowed { Ok(()) } else { Err(Error::Policy { what: wish(request), by: answer.refusers() }) }
    }

    fn decide(&self, request: &Request<'_>) -> Answer {
        match self {
            Self::Shipped(governance) => governance.decide(request),
            Self::Served(served) => served.in_force().engine().governance().decide(request),
        }
    }

    /// Goes over to each newer bundle until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        match self {
            Self::Shipped(_) => stop.cancelled().await,
            Self::Served(served) => Arc::clone(served).follow(stop).await,
        }
    }
}

/// Who wants what, in words.
fn wish(request: &Request<'_>) -> String {
    match request {
        Request::Admit(admission) => format!("task `{}`", admission.task.task_id),
        Request::Call(Caller { name, role }, call) => format!("`{name}` ({role}) may not call `{call}`"),
        Request::Promote(Caller { name, role }, release, _) => {
            format!("`{name}` ({role}) may not promote `{}`", release.release_id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use crate::http::calls;

    fn may(role: Role, call: &str) -> bool {
        Governance::shipped().unwrap().permit(&Request::Call(Caller { name: "ann", role: role.as_str() }, call)).is_ok()
    }

    #[test]
    fn the_schema_that_ships_knows_every_call_there_is_and_no_other() {
        assert_eq!(governance::Governance::shipped().unwrap().policies().calls(), *calls());
    }

    #[test]
    fn only_the_operator_changes_anything_and_may_make_every_call() {
        for call in calls() {
            assert!(may(Role::Operator, call), "{call}");
            assert!(call.starts_with("GET ") || !may(Role::Auditor, call) && !may(Role::Viewer, call), "{call}");
            assert!(!may(Role::Viewer, call) || may(Role::Auditor, call), "{call}");
        }
    }

    #[test]
    fn a_call_that_no_schema_knows_is_nobodys() {
        for role in [Role::Viewer, Role::Auditor, Role::Operator] {
            assert!(!may(role, "GET /api/v1/secrets"));
        }
    }
}

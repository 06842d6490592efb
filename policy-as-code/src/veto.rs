//! The veto: Rego policies in a repository's `rego` folder may refuse what Cedar allows, and allow nothing themselves.
//!
//! They are never passed over: a binary that was built without them refuses a repository that has some.

use policy_as_code_cedar::PolicySet;
use shared::decision::{DecisionRequest, TierAnswer};
use shared::detection::Tier;

use crate::PolicyError;
use crate::repository::Repository;

/// Refuses what others allow.
pub(crate) trait Veto: Send + Sync {
    /// Why `request` must not run at `tier`; empty where nothing speaks against it. An error speaks against it.
    fn vetoes(&self, request: &DecisionRequest, tier: Tier) -> Result<Vec<String>, String>;
}

/// The veto of a repository; `None` where it has no Rego policies.
pub(crate) fn load(repository: &Repository) -> Result<Option<Box<dyn Veto>>, PolicyError> {
    let modules = repository.folder("rego");
    if modules.is_empty() { Ok(None) } else { parse(&modules).map(Some) }
}

#[cfg(feature = "rego")]
impl Veto for policy_as_code_rego::Veto {
    fn vetoes(&self, request: &DecisionRequest, tier: Tier) -> Result<Vec<String>, String> {
        self.vetoes(request, tier).map_err(|error| error.to_string())
    }
}

#[cfg(feature = "rego")]
fn parse(modules: &[policy_as_code_cedar::Source]) -> Result<Box<dyn Veto>, PolicyError> {
    let modules = modules.iter().map(|module| (module.path.as_str(), module.text.as_str()));
    Ok(Box::new(policy_as_code_rego::Veto::parse(modules)?))
}

#[cfg(not(feature = "rego"))]
fn parse(_modules: &[policy_as_code_cedar::Source]) -> Result<Box<dyn Veto>, PolicyError> {
    Err(PolicyError::NoRego)
}

/// What is left of Cedar's `answer` to `request`. What is `always` allowed is not vetoed, or proofs of it would not hold.
pub(crate) fn overrule(
    veto: Option<&dyn Veto>,
    always: &PolicySet,
    request: &DecisionRequest,
    mut answer: TierAnswer,
) -> TierAnswer {
    let open = answer.allowed && answer.tier != Tier::AlertOnly;
    let Some(veto) = veto.filter(|_| open && !always.answer(request, answer.tier).allowed) else { return answer };
    match veto.vetoes(request, answer.tier) {
        Ok(reasons) if reasons.is_empty() => {}
        Ok(reasons) => {
            answer.allowed = false;
            answer.policies = reasons.into_iter().map(|reason| format!("rego: {reason}")).collect();
        }
        Err(error) => {
            answer.allowed = false;
            answer.errors.push(error);
        }
    }
    answer
}

#[cfg(test)]
#[cfg(feature = "rego")]
mod tests {
    use shared::Explain;
    use shared::decision::{ContainmentAction, Requester};

    use super::*;
    use crate::decide::Engine;
    use crate::testing::{changed, request};

    fn tier(rego: &str, action: ContainmentAction) -> (Tier, Vec<String>, Vec<String>) {
        let repository = changed(&[("rego/site.rego", &format!("package ringfence\nimport rego.v1\n{rego}"))]);
        let mut answers = Engine::new(&repository, None).unwrap().decide(&request(action)).answers;
        let first = answers.remove(0);
        (answers.last().map_or(first.tier, |last| last.tier), first.policies, first.errors)
    }

    #[test]
    fn a_veto_narrows_a_decision_and_widens_none() {
        let throttle = ContainmentAction::Throttle;
        assert_eq!(tier("deny contains \"x\" if input.action == \"isolate\"", throttle).0, Tier::Automated);
        let machine = "deny contains \"people only\" if input.tier == \"automated\"";
        assert_eq!(tier(machine, throttle), (Tier::Assisted, vec!["rego: people only".to_owned()], Vec::new()));
        assert_eq!(tier("deny contains \"no\" if input.action", throttle).0, Tier::AlertOnly);
        let (narrowed, _, errors) = tier("deny contains \"x\" if 1 / input.context.active_containments > 1", throttle);
        assert_eq!((narrowed, errors.len()), (Tier::AlertOnly, 1));
    }

    #[test]
    fn what_an_invariant_says_is_always_allowed_is_not_vetoed() {
        let everything = "package ringfence\nimport rego.v1\ndeny contains \"no\" if input.action";
        let engine = Engine::new(&changed(&[("rego/site.rego", everything)]), None).unwrap();
        let mut asked = request(ContainmentAction::Rollback);
        assert_eq!(engine.decide(&asked).tier, Tier::AlertOnly, "a release may be stopped from giving back");
        asked.requester = Requester::Responder { name: "ada".to_owned(), on_call: false };
        assert_eq!(engine.decide(&asked).tier, Tier::Automated, "a responder may not");
    }

    #[test]
    fn a_repository_with_rego_that_does_not_hold_is_not_loaded() {
        let repository = changed(&[("rego/site.rego", "package ringfence\ndeny contains")]);
        assert_eq!(Engine::new(&repository, None).err().unwrap().code(), "rego-syntax");
        assert_ne!(repository.digest().unwrap(), changed(&[]).digest().unwrap(), "what vetoes is part of the bundle");
    }
}

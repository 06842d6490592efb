//! The default actuator: it touches nothing, so that a site can watch what its policies would do before it lets them.
//!
//! Decisions, intents and outcomes are recorded as for any other actuator; the effect is the only thing that is missing.

use async_trait::async_trait;
use serde_json::json;

use super::{Actuator, ActuatorError, Effect, Undo};
use crate::playbook::Postcondition;

/// Acts on nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DryRun;

#[async_trait]
impl Actuator for DryRun {
    async fn capture(&self, _effect: &Effect) -> Result<Undo, ActuatorError> {
        Ok(Undo(json!({ "dry_run": true })))
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        tracing::info!(run_id = %effect.run_id, step = effect.step, action = %effect.action, "dry run: would act");
        Ok(())
    }

    async fn probe(&self, _effect: &Effect, _postcondition: Postcondition, _undo: &Undo) -> Result<(), ActuatorError> {
        Ok(())
    }

    async fn restore(&self, effect: &Effect, _undo: &Undo) -> Result<(), ActuatorError> {
        tracing::info!(run_id = %effect.run_id, step = effect.step, action = %effect.action, "dry run: would restore");
        Ok(())
    }
}

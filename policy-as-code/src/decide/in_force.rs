//! The engine in force: replaced whole, while decisions go on by the one they began with.

use std::sync::{Arc, PoisonError, RwLock};

use super::Engine;

/// Holds the engine that decides now.
pub struct InForce(RwLock<Arc<Engine>>);

impl InForce {
    /// Puts `engine` in force.
    pub fn new(engine: Engine) -> Self {
        Self(RwLock::new(Arc::new(engine)))
    }

    /// The engine that decides now. Whoever holds it goes on with it when another comes in force.
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `engine` in force in place of the one that was.
    pub fn replace(&self, engine: Engine) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
    }
}

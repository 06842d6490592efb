//! What may run and how: decisions, containment ledger, playbooks, actuators, bundles.

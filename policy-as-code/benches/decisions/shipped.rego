# The shipped policies for every site once more, in Rego, to measure another engine on the same decisions.
package ringfence

import rego.v1

automated if input.tier == "automated"

assisted if input.tier == "assisted"

release if input.requester.kind == "release"

responder if input.requester.kind == "responder"

contain if input.action in {"throttle", "terminate_sessions", "disable_credential", "isolate"}

cuts_off if input.action in {"disable_credential", "isolate"}

business_critical if input.asset.criticality == "business_critical"

business_critical if input.asset.tags.business_critical == "true"

standing if {
	input.requester.signed
	input.requester.validated
}

permits contains "automated.throttle" if {
	automated
	release
	input.action == "throttle"
	input.context.score_bp >= 7000
	input.context.false_positive_rate_bp <= 100
}

permits contains "automated.terminate-sessions" if {
	automated
	release
	input.action == "terminate_sessions"
	input.context.score_bp >= 8500
	input.context.false_positive_rate_bp <= 50
	input.context.playbook_step >= 2
}

permits contains "automated.disable-credential.standard" if {
	automated
	release
	input.action == "disable_credential"
	input.asset.criticality == "standard"
	input.context.score_bp >= 9000
	input.context.false_positive_rate_bp <= 20
	input.context.blast_radius <= 1
	input.context.playbook_step >= 3
}

permits contains "automated.disable-credential.important" if {
	automated
	release
	input.action == "disable_credential"
	input.asset.criticality == "important"
	input.context.score_bp >= 9700
	input.context.false_positive_rate_bp <= 5
	input.context.blast_radius <= 1
	input.context.playbook_step >= 3
}

permits contains "automated.isolate" if {
	automated
	release
	input.action == "isolate"
	input.asset.criticality == "standard"
	input.context.score_bp >= 9500
	input.context.false_positive_rate_bp <= 10
	input.context.blast_radius <= 5
}

permits contains "automated.rollback" if {
	automated
	release
	input.action == "rollback"
}

permits contains "assisted.release-proposes" if {
	assisted
	release
	contain
	input.context.score_bp >= 5000
}

permits contains "assisted.responder-acts" if {
	assisted
	responder
	contain
	input.requester.on_call
	input.context.approvals >= 1
}

permits contains "rollback.responder" if {
	responder
	input.action == "rollback"
}

permits contains "alert.always" if input.tier == "alert_only"

deny contains "no permit" if count(permits) == 0

deny contains "assisted.two-people-for-business-critical" if {
	assisted
	responder
	contain
	input.asset.criticality == "business_critical"
	input.context.approvals < 2
}

deny contains "guard.kill-switch" if {
	automated
	contain
	input.context.kill_switch
}

deny contains "guard.business-critical" if {
	automated
	cuts_off
	business_critical
}

deny contains "guard.quorum" if {
	automated
	contain
	input.context.healthy_peers < 2
}

deny contains "guard.concurrency" if {
	automated
	contain
	input.context.active_containments >= 10
}

deny contains "guard.blast-radius" if {
	automated
	contain
	input.context.blast_radius > 20
}

deny contains "guard.service-budget" if {
	automated
	contain
	input.context.service_blast_radius > 25
}

deny contains "guard.site-budget" if {
	automated
	contain
	input.context.site_blast_radius > 50
}

deny contains "guard.important-assets-budget" if {
	automated
	contain
	input.asset.criticality != "standard"
	input.context.class_containments >= 3
}

deny contains "guard.rate" if {
	automated
	contain
	input.context.recent_actions >= 60
}

deny contains "guard.unsure-rate" if {
	automated
	cuts_off
	input.context.false_positive_rate_high_bp > 500
}

deny contains "guard.irreversible" if {
	automated
	contain
	not input.context.reversible
}

deny contains "guard.isolate-after-watch" if {
	automated
	input.action == "isolate"
	input.context.playbook_step < 3
}

deny contains "guard.isolate-after-watch" if {
	automated
	input.action == "isolate"
	input.context.monitored_s < 300
}

deny contains "guard.maintenance-window" if {
	automated
	contain
	input.context.maintenance_window
}

deny contains "guard.unproven-release" if {
	input.tier != "alert_only"
	release
	contain
	not standing
}

deny contains "guard.stale-release" if {
	automated
	release
	contain
	input.requester.age_days > 30
}

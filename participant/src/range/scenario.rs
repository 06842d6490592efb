//! The attacks that the range weaves in. One file each, so that a reader can judge what a model is trained to find.

mod credential_stuffing;
mod destructive_statements;
mod dump_exfiltration;
mod injection_probing;
mod insider_bulk_export;
mod low_and_slow_scraping;
mod privilege_escalation;
mod schema_reconnaissance;
mod stolen_service_credential;

use super::transcript::Transcript;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// Many accounts, one or two passwords each, from a few addresses.
    CredentialStuffing,
    /// An analyst takes the customer table home.
    InsiderBulkExport,
    /// A clerk's account reads customer after customer, slowly.
    LowAndSlowScraping,
    /// A new role is raised beyond its maker's rights.
    PrivilegeEscalation,
    /// Somebody maps the schema and tries every door.
    SchemaReconnaissance,
    /// Crafted requests reach the database through the web application.
    InjectionProbing,
    /// The whole database leaves by pg_dump.
    DumpExfiltration,
    /// A service's password works for a person.
    StolenServiceCredential,
    /// Data is scrambled, deleted, held to ransom.
    DestructiveStatements,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 9] = [
        Self::CredentialStuffing,
        Self::InsiderBulkExport,
        Self::LowAndSlowScraping,
        Self::PrivilegeEscalation,
        Self::SchemaReconnaissance,
        Self::InjectionProbing,
        Self::DumpExfiltration,
        Self::StolenServiceCredential,
        Self::DestructiveStatements,
    ];

    /// The name in labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::CredentialStuffing => "credential_stuffing",
            Self::InsiderBulkExport => "insider_bulk_export",
            Self::LowAndSlowScraping => "low_and_slow_scraping",
            Self::PrivilegeEscalation => "privilege_escalation",
            Self::SchemaReconnaissance => "schema_reconnaissance",
            Self::InjectionProbing => "injection_probing",
            Self::DumpExfiltration => "dump_exfiltration",
            Self::StolenServiceCredential => "stolen_service_credential",
            Self::DestructiveStatements => "destructive_statements",
        }
    }

    /// The technique's number in MITRE ATT&CK.
    pub fn technique(self) -> &'static str {
        match self {
            Self::CredentialStuffing => "T1110.004",
            Self::InsiderBulkExport | Self::LowAndSlowScraping => "T1213",
            Self::PrivilegeEscalation => "T1098",
            Self::SchemaReconnaissance => "T1087",
            Self::InjectionProbing => "T1190",
            Self::DumpExfiltration => "T1005",
            Self::StolenServiceCredential => "T1078",
            Self::DestructiveStatements => "T1485",
        }
    }

    /// Tells the scenarios' streams of chance apart.
    pub(super) fn number(self) -> u64 {
        (0..).zip(Self::ALL).find(|(_, scenario)| *scenario == self).map_or(0, |(number, _)| number)
    }

    /// Plays the attack, beginning at the transcript's time.
    pub(super) fn strike(self, transcript: &mut Transcript<'_>) {
        match self {
            Self::CredentialStuffing => credential_stuffing::strike(transcript),
            Self::InsiderBulkExport => insider_bulk_export::strike(transcript),
            Self::LowAndSlowScraping => low_and_slow_scraping::strike(transcript),
            Self::PrivilegeEscalation => privilege_escalation::strike(transcript),
            Self::SchemaReconnaissance => schema_reconnaissance::strike(transcript),
            Self::InjectionProbing => injection_probing::strike(transcript),
            Self::DumpExfiltration => dump_exfiltration::strike(transcript),
            Self::StolenServiceCredential => stolen_service_credential::strike(transcript),
            Self::DestructiveStatements => destructive_statements::strike(transcript),
        }
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

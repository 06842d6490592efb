//! Why a policy repository or bundle is not served.

use policy_as_code_cedar::{CedarError, Place};
use shared::Explain;
use shared::canonical::CanonicalError;
use shared_crypto::CryptoError;

use crate::journal::JournalError;
use crate::playbook::PlaybookError;

/// Why a policy repository or bundle is not served.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file or folder cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Read {
        /// Which.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A revision cannot be read from git.
    #[error("`{revision}` is neither a folder with a policy repository nor a git revision of `{root}`: {reason}")]
    Revision {
        /// What was asked for.
        revision: String,
        /// Where.
        root: String,
        /// What git says.
        reason: String,
    },
    /// The repository lacks a file that every repository has.
    #[error("the policy repository has no `{path}`")]
    Missing {
        /// Which.
        path: &'static str,
    },
    /// The repository exceeds a limit.
    #[error("the policy repository exceeds its limit of {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A policy, the schema or a test does not hold.
    #[error(transparent)]
    Cedar(#[from] CedarError),
    /// `schema/domain.toml` does not hold.
    #[error("`schema/domain.toml` is not valid: {reason}")]
    Domain {
        /// What is wrong.
        reason: String,
    },
    /// An invariant does not say who owns it or why it stands.
    #[error("the invariant `{id}` has no `@{annotation}`")]
    Invariant {
        /// The invariant's id.
        id: String,
        /// The annotation that is missing.
        annotation: &'static str,
    },
    /// The repository has no policies for a site.
    #[error("the policy repository has no folder `policies/sites/{site}`")]
    NoSite {
        /// The site.
        site: String,
    },
    /// A policy of a site permits something.
    #[error("{place}: policy `{id}` permits, but what a site adds may only forbid")]
    SitePermits {
        /// Where.
        place: Place,
        /// The policy's id.
        id: String,
    },
    /// The Rego policies do not hold.
    #[cfg(feature = "rego")]
    #[error(transparent)]
    Rego(#[from] policy_as_code_rego::RegoError),
    /// The repository has Rego policies, and this binary cannot read them.
    #[cfg(not(feature = "rego"))]
    #[error("the policy repository has Rego policies, and this program was built without them")]
    NoRego,
    /// A playbook does not hold.
    #[error("`{path}`: {error}")]
    Playbook {
        /// The playbook's path.
        path: String,
        /// What is wrong.
        error: PlaybookError,
    },
    /// A repository lacks what makes it a bundle.
    #[error("the policy repository is no bundle: `{path}`: {reason}")]
    BundleFile {
        /// The file that is missing or cannot be read.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The bundle that was in force last does not hold any more.
    #[error("the bundle that was in force last, kept in `{path}`, does not hold: {reason}")]
    BundleKept {
        /// Where it is kept.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A bundle's manifest does not describe the files beside it.
    #[error("the bundle's `{path}` is not what its manifest says")]
    BundleContent {
        /// The first file that differs, is missing or is too much.
        path: String,
    },
    /// A bundle is not newer than the one in force.
    #[error("bundle version {version} is not above {in_force}, the version in force")]
    BundleVersion {
        /// Of the bundle offered.
        version: u64,
        /// Of the bundle in force.
        in_force: u64,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`: {reason}")]
    Write {
        /// Which.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Not everything that a repository claims is proven.
    #[error("not proven: `{claims}`")]
    Unproven {
        /// The claims.
        claims: String,
    },
    /// A proof certificate is about something else.
    #[error("the proof certificate is for other {part}")]
    CertificateSubject {
        /// What differs.
        part: &'static str,
    },
    /// A proof certificate leaves out a claim, or an environment.
    #[error("the proof certificate does not prove `{claim}`")]
    CertificateIncomplete {
        /// Which claim.
        claim: String,
    },
    /// No bundle comes in force without a record.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A signature or digest does not hold.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A document has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl Explain for PolicyError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "policy-read",
            Self::Revision { .. } => "policy-revision",
            Self::Missing { .. } => "policy-missing",
            Self::TooLarge { .. } => "policy-too-large",
            Self::Cedar(error) => error.code(),
            Self::Domain { .. } => "policy-domain",
            Self::Invariant { .. } => "policy-invariant",
            Self::NoSite { .. } => "policy-no-site",
            Self::SitePermits { .. } => "policy-site-permits",
            #[cfg(feature = "rego")]
            Self::Rego(error) => error.code(),
            #[cfg(not(feature = "rego"))]
            Self::NoRego => "policy-no-rego",
            Self::Playbook { error, .. } => error.code(),
            Self::BundleFile { .. } => "bundle-file",
            Self::BundleKept { .. } => "bundle-kept",
            Self::BundleContent { .. } => "bundle-content",
            Self::BundleVersion { .. } => "bundle-version",
            Self::Write { .. } => "policy-write",
            Self::Unproven { .. } => "policy-unproven",
            Self::CertificateSubject { .. } => "certificate-subject",
            Self::CertificateIncomplete { .. } => "certificate-incomplete",
            Self::Journal(error) => error.code(),
            Self::Crypto(error) => error.code(),
            Self::Canonical(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => {
                "name a folder with `policies`, `schema`, `invariants` and `playbooks` that is readable"
            }
            Self::Revision { .. } => {
                "name a folder, or a branch, tag or commit that `git rev-parse` knows there; a shallow clone has few"
            }
            Self::Missing { .. } => "start from the repository that Ringfence ships under `policy-as-code`",
            Self::TooLarge { .. } => "remove what is no policy, or merge small files",
            Self::Cedar(error) => error.hint(),
            Self::Domain { .. } => "give every number of the context one range with `min` and `max`",
            Self::Invariant { .. } => "every invariant names its `@owner` and its `@rationale`",
            Self::NoSite { .. } => "mend the site's name, or name no site to have the policies of all sites alone",
            Self::SitePermits { .. } => {
                "write the permit in `policies`, where the invariants are proven for every site"
            }
            #[cfg(feature = "rego")]
            Self::Rego(error) => error.hint(),
            #[cfg(not(feature = "rego"))]
            Self::NoRego => "build with `--features policy-as-code/rego`, or remove the folder `rego`",
            Self::Playbook { error, .. } => error.hint(),
            Self::BundleFile { .. } => {
                "prove and sign the repository: `ringfence-policy prove --certificate proof.json`, then `ringfence-policy \
                 bundle build`"
            }
            Self::BundleKept { .. } => {
                "if the signing key was changed on purpose, remove the file, and the folder's bundle is taken whatever its \
                 version; otherwise find out who wrote to it"
            }
            Self::BundleContent { .. } => "build the bundle again from a clean checkout, and copy it whole",
            Self::BundleVersion { .. } => "build the bundle with a higher version; an old one is never taken back",
            Self::Write { .. } => "name a file in a folder that is writable",
            Self::Unproven { .. } => "standard output shows a request that breaks each; mend the policy that it blames",
            Self::CertificateSubject { .. } | Self::CertificateIncomplete { .. } => {
                "prove the repository as it stands: `ringfence-policy prove --certificate proof.json`"
            }
            Self::Journal(error) => error.hint(),
            Self::Crypto(error) => error.hint(),
            Self::Canonical(error) => error.hint(),
        }
    }
}

//! What every error of Ringfence says beside its message: a stable code and a hint at the mend.

/// An error that a person or a program can act on.
///
/// The message (from `Display`) names what failed and where; the code never changes once released, so that programs
/// may match on it; the hint says in one sentence what to do next.
pub trait Explain: std::error::Error {
    /// A stable, kebab-case identifier such as `update-wrong-shape`.
    fn code(&self) -> &'static str;

    /// One sentence that tells the reader what to do about it.
    fn hint(&self) -> &'static str;
}

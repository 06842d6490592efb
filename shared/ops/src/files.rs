//! How many files and sockets a process may have open at once. It asks for what the machine allows, and never for more.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files and sockets as its hard limit allows. The soft limit that most systems begin
/// with (1,024) is there for programs that use `select`, which no program of ours does.
pub fn allow_many() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let maximum = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, soft_limit = limit.current, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Rlimit;

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
        allow_many();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
    }
}

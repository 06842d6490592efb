//! The whole coordinator over real sockets with mutual TLS, and as a process: who is let in, who is not, and what a
//! restart changes.

#[cfg(test)]
mod access;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod federation;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod process;
#[cfg(test)]
mod site;

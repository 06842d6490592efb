//! Both ends of the protocol over real sockets: what arrives, who is let in, who is cut off, and what a broken stream
//! leaves to be done.

#[cfg(test)]
mod bare;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod stage;

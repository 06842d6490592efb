//! Masked rounds between the production coordinator and production sites, without sockets: what a crash, a site that lies
//! and too few survivors come up against.

mod crashes;
mod federation;
mod lies;
mod opening;
mod proving;
mod shares;
mod site;
mod too_few;

//! Ringfence's one integration binary. Each module states facts about the whole: that the rooms stand where the design
//! says (`tidy`), that the documents tell the truth (`docs`), and that the real binaries, started as processes (`world`),
//! serve (`serving`), review policies (`policy_review`), learn (`local_training`), also from sums alone
//! (`masked_rounds`), survive being killed (`kill`, `short_phases`), never forget what they spent (`ledger`) and bear what
//! is broken, hostile (`bad_input`) or slow (`slow_sender`); that no schedule of faults loses or doubles an update
//! (`simulation`), and no crash or lie in a masked round goes unnoticed (`masked_protocol`); and that what is fuzzed has
//! its seeds (`fuzz_seeds`).

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bundle;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod fuzz_seeds;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod local_training;
#[cfg(test)]
mod masked_protocol;
#[cfg(test)]
mod masked_rounds;
#[cfg(test)]
mod policy_review;
#[cfg(test)]
mod process;
#[cfg(test)]
mod puppet;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod short_phases;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod slow_sender;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod world;

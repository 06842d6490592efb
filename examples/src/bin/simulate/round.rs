//! Rounds in virtual time: the coordinator's state machine, fed with the events of virtual participants.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Instant;

use anyhow::{Context, bail};
use examples::simulation::{Round, Simulation};
use examples::usage::Usage;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::aggregate::RoundStep;
use shared::encoding::Encoding;
use shared::masking::Assurance;
use shared::round::{AcceptedUpdate, Collected, RoundEvent, RoundPlan, RoundState};
use shared::task::Task;
use shared::{Digest, ParamVector, ParticipantId, RoundId, RoundNumber, Timestamp};
use shared_audit::transcript::updates_root;
use shared_crypto::bulk_digest;

use crate::Args;
use crate::arrival::Behaviour;
use crate::combine::Combiner;
use crate::task;
use crate::training::Training;
use crate::vectors::{self, Vector};

/// Runs the rounds.
pub(crate) fn simulate(args: &Args) -> anyhow::Result<Simulation> {
    let mut world = World::new(args)?;
    let rounds = (1..=args.rounds).map(|number| world.round(RoundNumber(number)));
    let rounds = rounds.collect::<anyhow::Result<_>>()?;
    Ok(Simulation { participants: args.participants, dim: world.checkpoint.len(), rounds })
}

/// Where updates come from.
enum Source {
    MadeUp(Vec<Vector>),
    Trained(Box<Training>),
}

/// An update on its way: when it arrives, whose it is, and the round that it was trained in.
type Arrival = Reverse<(Timestamp, usize, u32)>;

struct World {
    names: Vec<ParticipantId>,
    task: Task,
    behaviour: Behaviour,
    source: Source,
    combiner: Combiner,
    threads: usize,
    now: Timestamp,
    checkpoint: ParamVector,
    under_way: BinaryHeap<Arrival>,
    /// What trained participants have sent and what has not been used yet, by participant.
    trained: BTreeMap<usize, Vector>,
}

impl World {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let threads = usize::from(args.threads);
        let source = match args.train {
            true => Source::Trained(Box::new(Training::prepare(args.participants, args.seed, threads)?)),
            false => Source::MadeUp(vectors::make(args.distinct.min(args.participants), args.dim, args.seed)?),
        };
        let (checkpoint, (model, recipe)) = match &source {
            Source::Trained(training) => {
                (training.first(), (training.plan().spec.clone(), training.plan().recipe.clone()))
            }
            Source::MadeUp(_) => (ParamVector::zeros(usize::try_from(args.dim)?), task::made_up(args.dim)),
        };
        let task = task::task(args, model, recipe)?;
        Ok(Self {
            names: task.cohort.iter().cloned().collect(),
            task,
            behaviour: Behaviour::new(args.seed, args.dropout),
            source,
            combiner: Combiner::new(threads),
            threads,
            now: Timestamp::EPOCH,
            checkpoint,
            under_way: BinaryHeap::new(),
            trained: BTreeMap::new(),
        })
    }

    fn round(&mut self, number: RoundNumber) -> anyhow::Result<Round> {
        let plan = self.plan(number);
        let announced_at = self.now;
        let invited = plan.cohort.clone();
        let joined = self.send_off(&invited, number)?;
        let since = now();
        let collected = self.collect(plan, &joined)?;
        let ended_at = self.now;
        let committed = match &collected {
            Some(collected) => self.aggregate(collected).map(|()| true)?,
            None => false,
        };
        let round_s = now().duration_since(since).as_secs_f64();
        let accepted = collected.map(|collected| collected.accepted).unwrap_or_default();
        let average_precision = match &self.source {
            Source::Trained(training) => training.average_precision(&self.checkpoint)?,
            Source::MadeUp(_) => None,
        };
        Ok(Round {
            round_s,
            peak_bytes: Usage::of(std::process::id()).peak_bytes()?,
            virtual_s: ended_at.since(announced_at).as_secs_f64(),
            invited: u32::try_from(invited.len())?,
            accepted: u32::try_from(accepted.len())?,
            late: u32::try_from(accepted.values().filter(|update| update.trained_in != number).count())?,
            committed,
            average_precision,
        })
    }

    fn plan(&self, number: RoundNumber) -> RoundPlan {
        let cohort = self.invite(number);
        let goal = u32::try_from(cohort.len()).unwrap_or(u32::MAX);
        let goal = self.task.participation.goal.unwrap_or(goal);
        RoundPlan {
            round_id: RoundId { task_id: self.task.task_id.clone(), number },
            task_digest: Digest([0; 32]),
            checkpoint: Digest([0; 32]),
            server_state: None,
            quorum: self.task.quorum,
            threshold: None,
            assurance: Assurance::None,
            goal,
            cohort,
            root: None,
            late: self.task.participation.late,
            deadlines: self.task.deadlines,
            announced_at: self.now,
        }
    }

    /// A seeded draw without replacement (Fisher and Yates).
    fn invite(&self, number: RoundNumber) -> BTreeSet<ParticipantId> {
        let mut rng = ChaCha12Rng::seed_from_u64(self.task.seed.wrapping_add(u64::from(number.0) << 32));
        let mut names: Vec<&ParticipantId> = self.names.iter().collect();
        let count = self.task.participation.invited(names.len());
        for place in 0..count {
            let rest = u64::try_from(names.len().saturating_sub(place)).unwrap_or(1).max(1);
            names.swap(place, place.saturating_add(usize::try_from(rng.next_u64() % rest).unwrap_or(0)));
        }
        names.into_iter().take(count).cloned().collect()
    }

    /// Those who are invited and not busy with an earlier round join, train, and set out; who joined.
    fn send_off(&mut self, invited: &BTreeSet<ParticipantId>, number: RoundNumber) -> anyhow::Result<Vec<usize>> {
        let busy: BTreeSet<usize> = self.under_way.iter().map(|Reverse((_, participant, _))| *participant).collect();
        let free = self.names.iter().enumerate().filter(|(_, name)| invited.contains(*name));
        let joined: Vec<usize> = free.map(|(index, _)| index).filter(|index| !busy.contains(index)).collect();
        if let Source::Trained(training) = &self.source {
            let updates = training.updates(&self.checkpoint, &joined, number.0, self.threads)?;
            for (participant, values) in joined.iter().zip(updates) {
                let payload = bulk_digest(&values.to_le_bytes());
                self.trained.insert(*participant, Vector { values, payload });
            }
        }
        for participant in &joined {
            if let Some(delay) = self.behaviour.delay(*participant, number.0) {
                self.under_way.push(Reverse((self.now.plus(delay), *participant, number.0)));
            }
        }
        Ok(joined)
    }

    /// Lets time go on until collection ends; `None` where the round ends without a result.
    fn collect(&mut self, plan: RoundPlan, joined: &[usize]) -> anyhow::Result<Option<Collected>> {
        let mut state = RoundState::announce(plan);
        for participant in joined {
            let participant_id = self.name(*participant)?;
            state = state.apply(&RoundEvent::Joined { participant_id, at: self.now })?;
        }
        loop {
            match state.due(self.now) {
                Some(event) => state = state.apply(&event)?,
                None => state = self.wait(state)?,
            }
            match state {
                RoundState::Collected(collected) => return Ok(Some(collected)),
                RoundState::Aborted(_) => return Ok(None),
                _ => {}
            }
        }
    }

    /// Moves to the next arrival or the deadline, whichever comes first.
    fn wait(&mut self, state: RoundState) -> anyhow::Result<RoundState> {
        let deadline = state.deadline().context("a phase that waits has a deadline")?;
        let collecting = matches!(state, RoundState::Collecting(_));
        let next = self.under_way.peek().filter(|Reverse((at, ..))| collecting && *at < deadline);
        let Some(Reverse((at, participant, trained_in))) = next.copied() else {
            self.now = deadline;
            return Ok(state);
        };
        self.under_way.pop();
        self.now = self.now.max(at);
        let update = self.accepted(&state, participant, RoundNumber(trained_in))?;
        let participant_id = self.name(participant)?;
        // What comes too late for the task's terms is dropped, as by the coordinator.
        Ok(state.apply(&RoundEvent::UpdateAccepted { participant_id, update, at: self.now }).unwrap_or(state))
    }

    fn accepted(
        &self,
        state: &RoundState,
        participant: usize,
        trained_in: RoundNumber,
    ) -> anyhow::Result<AcceptedUpdate> {
        let vector = vector(&self.source, &self.trained, participant)?;
        Ok(AcceptedUpdate {
            payload: vector.payload,
            byte_count: u64::try_from(vector.values.len() * size_of::<f32>())?,
            encoding: Encoding::F32,
            trained_in,
            weight: state.plan().weight(trained_in),
            local_steps: self.task.recipe.local_steps,
        })
    }

    /// Applies the rule to exactly the accepted updates.
    fn aggregate(&mut self, collected: &Collected) -> anyhow::Result<()> {
        let index: BTreeMap<&ParticipantId, usize> = self.names.iter().zip(0..).collect();
        let update = |participant_id| {
            let participant = *index.get(participant_id).context("an accepted participant is of the cohort")?;
            Ok(vector(&self.source, &self.trained, participant)?.values.as_slice())
        };
        let updates = collected.accepted.keys().map(update).collect::<anyhow::Result<_>>()?;
        let accepted = &collected.accepted;
        let step = RoundStep { task: &self.task, accepted, updates_root: updates_root(accepted)? };
        self.checkpoint = self.combiner.candidate(step, &self.checkpoint, updates)?;
        Ok(())
    }

    fn name(&self, participant: usize) -> anyhow::Result<ParticipantId> {
        match self.names.get(participant) {
            Some(name) => Ok(name.clone()),
            None => bail!("there is no participant {participant}"),
        }
    }
}

/// The update that `participant` sends.
fn vector<'a>(
    source: &'a Source,
    trained: &'a BTreeMap<usize, Vector>,
    participant: usize,
) -> anyhow::Result<&'a Vector> {
    let found = match source {
        Source::MadeUp(vectors) => vectors.get(participant % vectors.len().max(1)),
        Source::Trained(_) => trained.get(&participant),
    };
    found.with_context(|| format!("participant {participant} has no update"))
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}

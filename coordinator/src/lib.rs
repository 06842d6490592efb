//! The federation's coordinator: enrolment, rounds, intake, aggregation, releases.

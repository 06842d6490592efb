//! NSL-KDD, the public set of labelled connections that several measurements learn from: records and their vectors. No
//! copy of it is part of the project.

mod dense;
mod encode;
mod record;

pub use dense::{Row, data_set, shuffled_rows};
pub use encode::{Encoder, Entry};
pub use record::{NUMBERS, Record, SYMBOLS, load};

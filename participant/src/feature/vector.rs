//! A feature vector, and the one place where a feature's name meets its formula.

/// How many features a vector has.
pub const WIDTH: usize = 135;

/// The features of one event, in the order of [`super::view`]. Every entry is finite and lies within [-1, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct Vector([f32; WIDTH]);

impl Vector {
    /// The features.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Takes features in order. The engine writes to one that keeps values, the view to one that keeps names, so that the
/// two cannot disagree.
pub(super) trait Row {
    /// The next feature.
    fn put(&mut self, name: &'static str, value: f32);
}

/// Keeps the values.
pub(super) struct Values {
    values: [f32; WIDTH],
    filled: usize,
}

impl Values {
    pub(super) fn new() -> Self {
        Self { values: [0.0; WIDTH], filled: 0 }
    }

    pub(super) fn finish(self) -> Vector {
        Vector(self.values)
    }
}

impl Row for Values {
    fn put(&mut self, _name: &'static str, value: f32) {
        if let Some(slot) = self.values.get_mut(self.filled) {
            *slot = value;
        }
        self.filled = self.filled.saturating_add(1);
    }
}

/// Keeps the names.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<String>);

impl Row for Names {
    fn put(&mut self, name: &'static str, _value: f32) {
        self.0.push(name.to_owned());
    }
}

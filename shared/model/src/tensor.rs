//! Flat slices as matrices, and back.

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};

use crate::ModelError;

/// A row-major slice as a matrix with `columns` columns, outside autodiff.
pub(crate) fn matrix(values: &[f32], columns: usize) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, columns]), &Device::flex())
}

/// Row numbers for a selection.
pub(crate) fn indices(ids: &[u32]) -> Tensor<1, Int> {
    let ids: Vec<i64> = ids.iter().copied().map(i64::from).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), &Device::flex())
}

/// The gradient that a backward pass left for `leaf`; zero where the leaf did not matter.
pub(crate) fn take_gradient(leaf: &Tensor<2>, gradients: &mut Gradients) -> Tensor<2> {
    leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like())
}

/// What `of` makes of a tensor's numbers, row after row.
pub(crate) fn read<const D: usize, T>(tensor: Tensor<D>, of: impl FnOnce(&[f32]) -> T) -> Result<T, ModelError> {
    let data = tensor.try_into_data().map_err(|error| ModelError::Engine(error.to_string()))?;
    data.as_slice().map(of).map_err(|error| ModelError::Engine(error.to_string()))
}

/// A tensor as a row-major vector.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    read(tensor, <[f32]>::to_vec)
}

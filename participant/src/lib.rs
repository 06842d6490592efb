//! One site of the federation: collect, lake, features, training, serving, response.

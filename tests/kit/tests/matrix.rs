//! The matrix of copies between the stores of this repository.

fn main() {
    keiki_kit::matrix::matrix()
}

//! The stores of this repository on the file systems of this machine.

fn main() {
    keiki_kit::harness(keiki_kit::rig::in_tree())
}

//! Copying, removing and hashing directory trees with nothing lost, through directory descriptors.

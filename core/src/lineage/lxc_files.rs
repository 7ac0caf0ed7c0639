//! The two files in which LXC keeps lineage, so that its tools and ours agree.

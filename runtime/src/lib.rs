//! Keiki's runtime: a volume composed with namespaces, cgroups and a lifecycle.

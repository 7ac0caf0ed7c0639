//! The overlay store of Keiki: a root filesystem is a stack of layers, of which only the topmost is written.
//!
//! A clone costs three directories, whatever the size of its origin. The price is a dependency: a volume that others
//! stack upon must not be written and not be removed, and the engine sees to it. A snapshot freezes the present upper
//! layer and goes on with a new one. The list of layers is flat: a clone of a clone names every layer itself.
//!
//! # On disk
//! ```text
//! <home>/rootfs                  the base of a created volume; marked; absent in clones
//! <home>/overlay/delta           the upper layer; carries the mark `trusted.keiki.id`
//! <home>/overlay/work            scratch of the kernel; trusted.keiki.lowers = the layers below, for `list`
//! <home>/overlay/delta-<short>   the upper layer of a successor, with `work-<short>` and, flattened, `base-<short>`
//! <home>/overlay/.keiki-<id>     an upper layer that is being made or removed
//! <home>/.keiki-base-<id>        a base that is being made or removed
//! ```
//! LXC's own containers (also those with `delta0` and `olwork`) are adopted where they are.
//!
//! The source is `overlay:LOWER[:LOWER…]:UPPER`, topmost lower first, as LXC writes it. A layer whose path holds a colon
//! cannot be named so and is refused.
//!
//! What it does not do: it holds no mount (`attach` answers with a plan), and it does not know which containers stack
//! upon a layer: that is the engine's.
#![forbid(unsafe_code)]

mod adopt;
mod attach;
mod clone;
mod create;
mod destroy;
mod flatten;
mod layers;
mod list;
mod place;
mod scratch;
mod spec;
mod store;
mod usage;

pub use store::OverlayStore;

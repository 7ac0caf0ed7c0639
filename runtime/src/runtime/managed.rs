//! `lxc.rootfs.managed = 0`: the root filesystem is somebody else's, and a destroy leaves it alone.
//!
//! LXC then runs the hooks of a destroy, removes nothing, and reports success. Here the destroy is refused: whoever asked for it believes
//! that the container is gone.

use std::path::Path;

use keiki_config::{ContainerConfig, Document, Flag};
use keiki_core::engine::{ContainerKey, DestroyScope, Engine};
use keiki_core::lineage::DestroyPlan;
use keiki_core::{Error, ErrorKind, Result};

const KEY: &str = "lxc.rootfs.managed";

/// Refuses to destroy a container, or one that would go with it, whose configuration says that its root filesystem is not ours.
pub(super) fn require(engine: &Engine, key: &ContainerKey, scope: DestroyScope) -> Result<()> {
    require_one(engine, key)?;
    if scope != DestroyScope::WithDependents {
        return Ok(());
    }
    // A plan that would be refused is refused by the destroy itself.
    let Ok(plan) = engine.plan_destroy(key, scope).and_then(DestroyPlan::permitted) else { return Ok(()) };
    plan.steps.iter().try_for_each(|step| require_one(engine, &step.container))
}

fn require_one(engine: &Engine, key: &ContainerKey) -> Result<()> {
    // That there is no container, the destroy says.
    let Ok(text) = engine.read_config(key) else { return Ok(()) };
    if is_managed(&text, &key.home().join("config")) {
        return Ok(());
    }
    let text = format!("the root filesystem of `{}` is not keiki's to destroy: {KEY} is 0", key.name);
    Err(Error::new(ErrorKind::InvalidArgument, text).with_hint(format!(
        "`keiki config set {} {KEY}=1` makes it so, and the destroy removes it",
        key.name
    )))
}

/// A configuration that is wrong somewhere says it nevertheless: a broken container can be destroyed.
fn is_managed(text: &[u8], file: &Path) -> bool {
    match ContainerConfig::parse(text, file) {
        Ok(config) => config.flag(KEY, Flag::On),
        Err(_) => Document::new(text).get(KEY).is_none_or(|value| value.is_empty() || value == "1"),
    }
}

//! `keiki create`: a template's content in a new volume, and a configuration in LXC's language.

use std::path::Path;

use keiki_config::{ContainerConfig, with_hardware_addresses};
use keiki_core::engine::{CreateContainer, Fill};
use keiki_core::name::ContainerName;
use keiki_core::{Error, Result};
use keiki_runtime::default_config;

use super::outcome::described;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::template::{self, Template, Unusable};

pub(crate) fn run(session: &Session, args: &args::Create) -> Result<Exit> {
    match template::find(&args.template, &args.template_options) {
        Ok(template) => create(session, args, template),
        Err(Unusable::Options(error)) => session.ui().usage(&error),
        Err(Unusable::Failed(error)) => Err(error),
    }
}

fn create(session: &Session, args: &args::Create, mut template: Template) -> Result<Exit> {
    let key = session.new_container(&args.name)?;
    let request = CreateContainer {
        store: args.store.choice()?,
        options: args.store.properties(),
        config: config(session, args, &key.name, &template)?,
        key,
        fill: template.fill.as_mut().map(|fill| fill.as_mut() as &mut dyn Fill),
    };
    let outcome = session.runtime()?.engine().create(&session.context()?, request)?;
    session.ui().done(&format!("created {} ({})", outcome.name, described(&outcome)))?;
    Ok(Exit::DONE)
}

/// Returns what the container begins with: our defaults, the template's lines, and behind them the user's, which win: those of
/// `--config`, else those of `lxc.default_config`, as with LXC.
fn config(
    session: &Session,
    args: &args::Create,
    name: &ContainerName,
    template: &Template,
) -> Result<Vec<u8>> {
    let mut config = default_config(name);
    config.extend(template.config.as_bytes());
    let usual = session.global_config()?.default_config();
    if let Some(path) = args.config.as_ref().or(usual.as_ref()) {
        config.extend(read(path)?);
    }
    // A random address is so once, and not at each start.
    Ok(with_hardware_addresses(&config).unwrap_or(config))
}

/// Reads a configuration and checks it, so that a mistake is told now, with its place, and not at the first start.
fn read(path: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(path)
        .map_err(|e| Error::io(format!("cannot read the configuration `{}`", path.display()), e))?;
    ContainerConfig::parse(&text, path)?;
    Ok(text)
}

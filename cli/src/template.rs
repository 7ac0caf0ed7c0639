//! The templates of this build, and the options that follow `--`: what puts the first content into a container, and what
//! that content wants in its configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use keiki_core::engine::Fill;
use keiki_core::{Error, ErrorKind, Result};
use keiki_images::{Busybox, Devices, Local};

/// First content and the configuration that goes with it.
#[derive(Debug)]
pub(crate) struct Template {
    /// Fills the root filesystem; `None` leaves it empty.
    pub(crate) fill: Option<Box<dyn Fill>>,
    /// Lines in LXC's language; the user's own stand behind them and win.
    pub(crate) config: &'static str,
}

/// Why there is no template.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The options of the template are wrong, or only ask for help; it prints itself.
    Options(clap::Error),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A small system made from the host's static busybox
#[derive(Debug, Parser)]
#[command(name = "keiki create NAME --template busybox --", no_binary_name = true)]
struct BusyboxOptions {
    /// Static busybox to use [default: the host's]
    #[arg(long, value_name = "FILE")]
    busybox_path: Option<PathBuf>,
}

/// A root filesystem from an archive (.tar, .gz, .xz, .zst) or a directory
#[derive(Debug, Parser)]
#[command(name = "keiki create NAME --template local --", no_binary_name = true)]
struct LocalOptions {
    /// The archive or directory
    #[arg(short, long, value_name = "PATH")]
    rootfs: PathBuf,
    /// What becomes of device nodes in an archive
    #[arg(long, value_name = "refuse|skip|make", default_value = "refuse")]
    devices: String,
}

/// An empty root filesystem
#[derive(Debug, Parser)]
#[command(name = "keiki create NAME --template none --", no_binary_name = true)]
struct NoOptions {}

/// Returns the template called `name`, set up by its own options.
pub(crate) fn find(name: &str, options: &[OsString]) -> Result<Template, Unusable> {
    match name {
        "busybox" => busybox(&parse(options)?),
        "local" => local(&parse(options)?),
        "none" => parse(options).map(|NoOptions {}| Template { fill: None, config: "" }),
        _ => Err(Error::new(ErrorKind::InvalidArgument, format!("there is no template `{name}`"))
            .with_hint("templates: busybox, local, none")
            .into()),
    }
}

fn parse<T: Parser>(options: &[OsString]) -> Result<T, Unusable> {
    T::try_parse_from(options).map_err(Unusable::Options)
}

fn busybox(options: &BusyboxOptions) -> Result<Template, Unusable> {
    let fill = match &options.busybox_path {
        Some(path) => Busybox::at(path)?,
        None => Busybox::find()?,
    };
    Ok(Template { fill: Some(Box::new(fill)), config: Busybox::CONFIG })
}

fn local(options: &LocalOptions) -> Result<Template, Unusable> {
    let devices: Devices = options.devices.parse()?;
    let fill = Local::new(&options.rootfs, devices)?;
    Ok(Template { fill: Some(Box::new(fill)), config: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_template_are_checked_by_it() {
        let options = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let found = |name, words: &[&str]| find(name, &options(words));
        assert!(found("local", &["--rootfs", "/"]).is_ok());
        assert!(found("none", &[]).is_ok_and(|template| template.fill.is_none()));
        assert!(matches!(found("local", &[]), Err(Unusable::Options(_))));
        assert!(matches!(found("none", &["--x"]), Err(Unusable::Options(_))));
        assert!(matches!(found("local", &["--rootfs", "/no/such"]), Err(Unusable::Failed(_))));
        assert!(matches!(found("local", &["--rootfs", "/", "--devices", "x"]), Err(Unusable::Failed(_))));
        assert!(matches!(found("debian", &[]), Err(Unusable::Failed(_))));
    }
}

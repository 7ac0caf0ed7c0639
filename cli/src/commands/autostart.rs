//! `keiki autostart`: the containers that shall run from boot on (`lxc.start.*`, `lxc.group`), in their order.

use std::time::Duration;

use keiki_core::Result;
use keiki_runtime::{StartOptions, StartWish, StopMode, StopOptions};

use crate::args;
use crate::error::Exit;
use crate::session::Session;

/// What is done with the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start,
    Reboot,
    Shutdown,
    Kill,
}

impl Action {
    fn of(args: &args::AutostartAction) -> Self {
        match (args.reboot, args.shutdown, args.kill) {
            (true, _, _) => Self::Reboot,
            (_, true, _) => Self::Shutdown,
            (_, _, true) => Self::Kill,
            _ => Self::Start,
        }
    }

    /// Whether it is done to those that run, or to those that do not.
    fn wants_running(self) -> bool {
        self != Self::Start
    }

    fn is_end(self) -> bool {
        matches!(self, Self::Shutdown | Self::Kill)
    }
}

pub(crate) fn run(session: &Session, args: &args::Autostart) -> Result<Exit> {
    let action = Action::of(&args.action);
    let wishes = chosen(session.runtime()?.start_wishes(&session.wanted_lxcpath()?)?, args, action);
    if args.list {
        let line = |wish: &StartWish| match action.is_end() {
            true => format!("{}\n", wish.key.name),
            false => format!("{} {}\n", wish.key.name, wish.delay.as_secs()),
        };
        session.ui().data(&wishes.iter().map(line).collect::<String>())?;
        return Ok(Exit::DONE);
    }
    session.each(&wishes, |wish| act(session, action, wish, Duration::from_secs(args.timeout)))
}

/// Returns the containers that are meant, one group after the other, each container once, in the order in which they are dealt with.
fn chosen(all: Vec<StartWish>, args: &args::Autostart, action: Action) -> Vec<StartWish> {
    let no_group = [String::new()];
    let groups: &[String] = if args.groups.is_empty() { &no_group } else { &args.groups };
    let is_wanted = |wish: &&StartWish| {
        (args.ignore_auto || wish.is_automatic) && wish.is_running == action.wants_running()
    };
    let mut wanted: Vec<&StartWish> = all.iter().filter(is_wanted).collect();
    wanted.sort_by(|one, other| (one.order, &one.key.name).cmp(&(other.order, &other.key.name)));
    if action.is_end() {
        wanted.reverse();
    }
    let is_in = |wish: &StartWish, group: &String| match group.is_empty() {
        true => wish.groups.is_empty(),
        false => wish.groups.contains(group),
    };
    let mut chosen: Vec<StartWish> = Vec::new();
    let passes =
        groups.iter().flat_map(|group| wanted.iter().filter(move |wish| args.all || is_in(wish, group)));
    for wish in passes {
        if !chosen.iter().any(|known| known.key == wish.key) {
            chosen.push((*wish).clone());
        }
    }
    chosen
}

fn act(session: &Session, action: Action, wish: &StartWish, timeout: Duration) -> Result<()> {
    let runtime = session.runtime()?;
    let stop = |mode: StopMode| runtime.stop(&wish.key, &StopOptions { mode, timeout });
    match action {
        Action::Kill => stop(StopMode::Kill)?,
        Action::Shutdown | Action::Reboot => stop(StopMode::Shutdown)?,
        Action::Start => {}
    }
    if action.is_end() {
        return session.ui().done(&format!("stopped {}", wish.key.name));
    }
    let started = runtime.start(&session.context()?, &wish.key, &StartOptions::default())?;
    for warning in &started.warnings {
        session.ui().warning(warning);
    }
    session.ui().done(&format!("started {} (pid {})", wish.key.name, started.pid))?;
    std::thread::sleep(wish.delay);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use keiki_core::engine::ContainerKey;
    use keiki_core::name::ContainerName;

    use super::*;

    fn wish(name: &str, order: i32, groups: &[&str]) -> StartWish {
        StartWish {
            key: ContainerKey { lxcpath: "/l".into(), name: ContainerName::parse(name).unwrap() },
            is_automatic: name != "manual",
            is_running: name.starts_with("up"),
            order,
            delay: Duration::ZERO,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        }
    }

    fn names(line: &str) -> String {
        let cli = args::Cli::try_parse_from(line.split_whitespace()).unwrap();
        let args::Verb::Autostart(args) = cli.verb else { panic!("{line}") };
        let all = vec![
            wish("b", 1, &[]),
            wish("a", 1, &[]),
            wish("first", 0, &["onboot", "web"]),
            wish("manual", 0, &[]),
            wish("up1", 1, &[]),
            wish("up2", 2, &[]),
        ];
        let action = Action::of(&args.action);
        let chosen = chosen(all, &args, action);
        chosen.iter().map(|wish| wish.key.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn order_groups_and_states_decide() {
        let table = [
            ("keiki autostart", "a b"),
            ("keiki autostart -A", "manual a b"),
            ("keiki autostart -a", "first a b"),
            ("keiki autostart -g onboot,", "first a b"),
            ("keiki autostart -g ,onboot", "a b first"),
            ("keiki autostart -g web,onboot", "first"),
            ("keiki autostart --shutdown", "up2 up1"),
            ("keiki autostart --kill", "up2 up1"),
            ("keiki autostart --reboot", "up1 up2"),
        ];
        for (line, expected) in table {
            assert_eq!(names(line), expected, "{line}");
        }
    }
}

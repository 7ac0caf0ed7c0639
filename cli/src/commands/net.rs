//! `keiki net`: the host's own network for containers, made, taken down and shown.

use keiki_core::{Error, ErrorKind, Result};
use keiki_network::bridge::{self, Change, Places, Ports, Settings, Standing, Status, Wanted};
use serde_json::{Value, json};

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};
use crate::ui::time::rfc3339;

pub(crate) fn run(session: &Session, args: &args::Net) -> Result<Exit> {
    let settings = Settings::load(&args.settings)?;
    let places = session.network_places()?;
    match &args.verb {
        args::NetVerb::Up => up(session, &settings, &places),
        args::NetVerb::Down(args) => down(session, &settings, &places, args),
        args::NetVerb::Status(args) => {
            let status = bridge::status(&session.context()?, &settings, &places)?;
            let report = Report { name: settings.bridge.to_string(), status };
            session.ui().data(&format::one(&report, args.format, session.ui().palette())?)?;
            Ok(Exit::DONE)
        }
    }
}

fn up(session: &Session, settings: &Settings, places: &Places) -> Result<Exit> {
    need_root("makes")?;
    if settings.wanted == Wanted::No {
        session.ui().done("nothing to do: USE_LXC_BRIDGE is false")?;
        return Ok(Exit::DONE);
    }
    bridge::up(&session.context()?, settings, places)?;
    session.ui().done(&format!("{} is up with {}", settings.bridge, settings.address))?;
    Ok(Exit::DONE)
}

fn down(session: &Session, settings: &Settings, places: &Places, args: &args::NetDown) -> Result<Exit> {
    need_root("removes")?;
    let ports = if args.force { Ports::Disconnect } else { Ports::Refuse };
    let said = match bridge::down(&session.context()?, settings, places, ports)? {
        Change::Done => format!("{} is down", settings.bridge),
        Change::Nothing => format!("{} was down", settings.bridge),
    };
    session.ui().done(&said)?;
    Ok(Exit::DONE)
}

fn need_root(does: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, format!("only root {does} the host's network"))
        .with_hint("run it with `sudo`"))
}

struct Report {
    name: String,
    status: Status,
}

impl Record for Report {
    const FIELDS: &'static [&'static str] =
        &["bridge", "standing", "up", "addresses", "dnsmasq", "rules", "forwards", "ports", "leases"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        let status = &self.status;
        match field {
            "bridge" => Cell::Text(self.name.clone()),
            "standing" => Cell::Text(standing(status.standing).to_owned()),
            "up" => Cell::Flag(status.is_up),
            "addresses" => Cell::List(status.addresses.clone()),
            "dnsmasq" => Cell::number(status.dnsmasq),
            "rules" => Cell::Flag(status.has_rules),
            "forwards" => Cell::Flag(status.forwards),
            "ports" => ports(status),
            "leases" => leases(status),
            _ => Cell::Absent,
        }
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Absent => "absent",
        Standing::Ours => "ours",
        Standing::Foreign => "foreign",
    }
}

fn ports(status: &Status) -> Cell {
    if status.ports.is_empty() {
        return Cell::List(Vec::new());
    }
    let owned = |mark: &Option<keiki_network::Mark>| {
        mark.as_ref().and_then(|mark| mark.owner.as_str().rsplit('/').next().map(str::to_owned))
    };
    let values: Vec<Value> =
        status.ports.iter().map(|(name, mark)| json!({ "name": name, "container": owned(mark) })).collect();
    let lines: Vec<String> = status
        .ports
        .iter()
        .map(|(name, mark)| owned(mark).map_or_else(|| name.clone(), |owner| format!("{name}  {owner}")))
        .collect();
    Cell::Nested(Value::Array(values), lines.join("\n"))
}

fn leases(status: &Status) -> Cell {
    if status.leases.is_empty() {
        return Cell::List(Vec::new());
    }
    let until = |seconds: u64| (seconds != 0).then(|| rfc3339(seconds));
    let values: Vec<Value> = status
        .leases
        .iter()
        .map(|lease| {
            json!({ "address": lease.address, "name": lease.name, "hardware": lease.hardware, "until": until(lease.until) })
        })
        .collect();
    let lines: Vec<String> = status
        .leases
        .iter()
        .map(|lease| format!("{}  {}", lease.address, lease.name.as_deref().unwrap_or(&lease.hardware)))
        .collect();
    Cell::Nested(Value::Array(values), lines.join("\n"))
}

//! The packet filter: one table of our own, replaced whole in one transaction.
//!
//! It lets DHCP and names in, lets packets of the network through, and has them leave under the host's address. A table accepts for itself
//! only: another table of the host's that drops them goes on doing so.

use keiki_core::context::Context;
use keiki_core::tool::{Input, Tool};
use keiki_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::{Nat, Settings};
use crate::address::Subnet;

/// The ports of names and of DHCP.
const PORTS: [u16; 2] = [53, 67];
/// That of DHCP for IPv6.
const PORT_OF_IPV6: u16 = 547;

pub(super) fn tool() -> Tool {
    Tool::new("nft", "nftables")
}

/// Puts our rules in force, in place of those that were.
pub(super) fn apply(context: &Context, settings: &Settings) -> Result<()> {
    run(context, &replaced(settings))
}

/// Removes our rules; that there are none is success.
pub(super) fn remove(context: &Context, settings: &Settings) -> Result<()> {
    run(context, &removed(settings))
}

/// Returns whether our rules are in force.
pub(super) fn is_applied(context: &Context, settings: &Settings) -> Result<bool> {
    let answer = tool().call().args(["-j", "list", "tables"]).run(context)?;
    let tables = tables(answer.text()?).ok_or_else(|| answer.misunderstood("it is not a list of tables"))?;
    Ok(tables.contains(&("inet".to_owned(), table(settings))))
}

fn run(context: &Context, commands: &[Value]) -> Result<()> {
    let text = serde_json::to_vec(&json!({ "nftables": commands }))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write rules").with_source(error))?;
    tool().call().args(["-j", "-f", "-"]).input(Input::Bytes(text)).run(context).map(drop)
}

fn table(settings: &Settings) -> String {
    format!("keiki-{}", settings.bridge)
}

/// Removing what is not there is an error, making what is there is none.
fn removed(settings: &Settings) -> Vec<Value> {
    let table = json!({ "table": { "family": "inet", "name": table(settings) } });
    vec![json!({ "add": table }), json!({ "delete": table })]
}

fn replaced(settings: &Settings) -> Vec<Value> {
    let name = table(settings);
    let mut commands = removed(settings);
    commands.push(json!({ "add": { "table": { "family": "inet", "name": name } } }));
    let mut chain = |chain: &str, kind: &str, hook: &str, priority: i32| {
        commands.push(json!({ "add": { "chain": {
            "family": "inet", "table": name, "name": chain, "type": kind, "hook": hook, "prio": priority, "policy": "accept",
        } } }));
    };
    chain("input", "filter", "input", 0);
    chain("forward", "filter", "forward", 0);
    chain("postrouting", "nat", "postrouting", 100);
    let mut rule = |chain: &str, expressions: Vec<Value>| {
        commands.push(json!({ "add": { "rule": {
            "family": "inet", "table": name, "chain": chain, "expr": expressions,
        } } }));
    };
    let bridge = settings.bridge.as_str();
    let accept = json!({ "accept": null });
    for protocol in ["udp", "tcp"] {
        let ports = json!({ "set": PORTS });
        rule("input", vec![interface("iifname", bridge), port(protocol, &ports), accept.clone()]);
    }
    rule("input", vec![interface("iifname", bridge), port("udp", &json!(PORT_OF_IPV6)), accept.clone()]);
    rule("forward", vec![interface("iifname", bridge), accept.clone()]);
    rule("forward", vec![interface("oifname", bridge), accept]);
    rule("postrouting", masquerade("ip", settings.network));
    if let Some(ipv6) = settings.ipv6.filter(|ipv6| ipv6.nat == Nat::Yes) {
        rule("postrouting", masquerade("ip6", ipv6.network));
    }
    commands
}

fn interface(key: &str, name: &str) -> Value {
    json!({ "match": { "op": "==", "left": { "meta": { "key": key } }, "right": name } })
}

fn port(protocol: &str, ports: &Value) -> Value {
    let field = json!({ "payload": { "protocol": protocol, "field": "dport" } });
    json!({ "match": { "op": "==", "left": field, "right": ports } })
}

/// What comes from the network and leaves it gets the host's address.
fn masquerade(protocol: &str, network: Subnet) -> Vec<Value> {
    let side = |field: &str, operator: &str| {
        let prefix = json!({ "prefix": { "addr": network.network().to_string(), "len": network.prefix } });
        let field = json!({ "payload": { "protocol": protocol, "field": field } });
        json!({ "match": { "op": operator, "left": field, "right": prefix } })
    };
    vec![side("saddr", "=="), side("daddr", "!="), json!({ "counter": null }), json!({ "masquerade": null })]
}

/// Returns family and name of each table of an answer.
fn tables(text: &str) -> Option<Vec<(String, String)>> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let objects = answer.get("nftables")?.as_array()?;
    let of = |table: &Value| {
        Some((table.get("family")?.as_str()?.to_owned(), table.get("name")?.as_str()?.to_owned()))
    };
    objects.iter().filter_map(|object| object.get("table")).map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn tables_are_read_from_what_nft_says() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "inet", "name": "keiki-lxcbr0", "handle": 1}}, {"table": {"family": "ip", "name": "x"}}]}"#;
        let read = tables(text).unwrap();
        assert_eq!(read[0], ("inet".to_owned(), "keiki-lxcbr0".to_owned()));
        assert_eq!(tables(r#"{"nftables": [{"metainfo": {}}]}"#).unwrap(), []);
        for bad in ["", "x", "{}", r#"{"nftables": 1}"#, r#"{"nftables": [{"table": {"name": "x"}}]}"#] {
            assert_eq!(tables(bad), None, "{bad}");
        }
    }

    #[test]
    fn rules_replace_the_table_and_cover_the_other_side_only_where_asked() {
        let settings = |text: &str| Settings::parse(text, Path::new("x")).unwrap();
        let shown = |text: &str| serde_json::to_string(&replaced(&settings(text))).unwrap();
        let plain = shown("");
        assert!(
            plain.starts_with(r#"[{"add":{"table":{"family":"inet","name":"keiki-lxcbr0"}}},{"delete""#),
            "{plain}"
        );
        assert_eq!(plain.matches("masquerade").count(), 1);
        let both =
            shown("LXC_IPV6_ADDR=fd00::1\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fd00::/64\nLXC_IPV6_NAT=true\n");
        assert_eq!(both.matches("masquerade").count(), 2);
    }
}

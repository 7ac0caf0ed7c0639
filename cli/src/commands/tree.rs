//! `keiki tree`: who was made from whom. What needs its parent's data hangs on it plainly; what was copied says so.

use std::collections::HashMap;

use keiki_core::Result;
use keiki_core::engine::ContainerKey;
use keiki_core::lineage::{NodeRole, Relation, Tree, TreeRow};
use keiki_runtime::{ContainerState, ContainerStatus};

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::color::{Palette, Style};
use crate::ui::format::{self, Cell, Format, Record};
use crate::ui::tree::{Guides, Line, render};

pub(crate) fn run(session: &Session, args: &args::Tree) -> Result<Exit> {
    let runtime = session.runtime()?;
    let lxcpath = session.listed_lxcpath()?;
    let lineage = runtime.engine().lineage(&lxcpath)?;
    let tree = match &args.name {
        None => lineage.tree(),
        Some(name) => {
            let key = session.container(name)?;
            // Says so when there is no such container; the graph alone would just be empty.
            runtime.engine().container(&key)?;
            lineage.tree_of(&key)
        }
    };
    let branches = branches(tree, runtime.statuses(&lxcpath)?);
    let palette = session.ui().palette();
    let text = match args.format {
        Format::Table => draw(&branches, palette),
        other => format::many(&branches, other, &[], palette)?,
    };
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

fn draw(branches: &[Branch], palette: Palette) -> String {
    let lines: Vec<_> =
        branches.iter().map(|branch| Line { depth: branch.row.depth, text: branch.label(palette) }).collect();
    render(&lines, Guides::of_locale())
}

/// Adds to each row what the graph does not know: the name of the row above, and whether the container runs.
fn branches(tree: Tree, statuses: Vec<ContainerStatus>) -> Vec<Branch> {
    let states: HashMap<ContainerKey, ContainerState> =
        statuses.into_iter().map(|status| (status.record.key, status.state)).collect();
    let mut above: Vec<String> = Vec::new();
    tree.rows
        .into_iter()
        .map(|row| {
            above.truncate(row.depth);
            let parent = above.last().cloned();
            above.push(row.name.clone());
            let is_head = row.role == NodeRole::Head;
            let state = is_head.then(|| states.get(&row.container).map(ToString::to_string)).flatten();
            let is_running = is_head && states.get(&row.container).is_some_and(|state| state.is_alive());
            Branch { row, parent, state, is_running }
        })
        .collect()
}

struct Branch {
    row: TreeRow,
    parent: Option<String>,
    state: Option<String>,
    is_running: bool,
}

impl Branch {
    fn label(&self, palette: Palette) -> String {
        let name = Cell::Text(self.row.name.clone()).shown();
        let mut label = match self.row.role {
            NodeRole::Head | NodeRole::Snapshot(_) => name,
            NodeRole::Layer | NodeRole::Ghost => format!("({} of {name})", self.row.role.word()),
        };
        let mut facts = vec![self.row.store.to_string()];
        if self.row.relation == Some(Relation::Provenance) {
            facts.push("copy".to_owned());
        }
        label.push_str(&palette.paint(Style::Faint, &format!("  {}", facts.join(", "))));
        if let (true, Some(state)) = (self.is_running, &self.state) {
            label.push_str(&palette.paint(Style::Good, &format!("  {state}")));
        }
        label
    }
}

impl Record for Branch {
    const FIELDS: &'static [&'static str] =
        &["name", "kind", "parent", "relation", "depth", "store", "state", "container"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.row.name.clone()),
            "kind" => Cell::Text(self.row.role.word().to_owned()),
            "parent" => Cell::text(self.parent.as_deref()),
            "relation" => Cell::text(self.row.relation.map(word)),
            "depth" => Cell::number(u64::try_from(self.row.depth).ok()),
            "store" => Cell::Text(self.row.store.to_string()),
            "state" => Cell::text(self.state.as_deref()),
            "container" => Cell::Text(self.row.container.name.to_string()),
            _ => Cell::Absent,
        }
    }
}

fn word(relation: Relation) -> &'static str {
    match relation {
        Relation::Dependency => "dependency",
        Relation::Provenance => "provenance",
    }
}

//! A dataset of somebody else, and what it looked like.

use keiki_tree::Description;

use super::super::{Missing, Stranger};
use super::mounted;
use super::pool::zfs;
use crate::bench::Tree;
use crate::claim;
use crate::verdict::Verdict;

#[derive(Debug)]
struct Watched {
    name: String,
    properties: String,
    content: Description,
}

/// Remembers a dataset as it is now.
pub(super) fn watched(name: &str) -> Result<Box<dyn Stranger>, Missing> {
    let content = content_of(name)?;
    Ok(Box::new(Watched { name: name.to_owned(), properties: properties_of(name)?, content }))
}

/// Returns what identifies it, and every property that somebody set; the mark, which adopting adds, is the store's to tell.
fn properties_of(name: &str) -> Result<String, Missing> {
    let identity = zfs(&["get", "-Hp", "-o", "property,value", "guid,createtxg,origin", name])?;
    let set = zfs(&["get", "-Hp", "-s", "local", "-o", "property,value", "all", name])?;
    let set: Vec<&str> = set.lines().filter(|line| !line.starts_with("keiki:id\t")).collect();
    Ok(format!("{identity}\n{}", set.join("\n")))
}

fn content_of(name: &str) -> Result<Description, Missing> {
    let seen = Tree::open(mounted(name)?).and_then(|tree| tree.describe());
    seen.map_err(|e| Missing(format!("a dataset `{name}` that can be read: {e}")))
}

impl Stranger for Watched {
    fn expect_untouched(&self) -> Verdict<()> {
        let failure = |missing: Missing| crate::verdict::Failure::new(missing.0);
        let properties = properties_of(&self.name).map_err(failure)?;
        claim!(properties == self.properties, "`{}` is not ours and changed: {properties}", self.name);
        let content = content_of(&self.name).map_err(failure)?;
        claim!(
            content == self.content,
            "`{}` is not ours and changed: {:?}",
            self.name,
            self.content.diff(&content)
        );
        Ok(())
    }
}

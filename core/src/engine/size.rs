//! `keiki resize` and `keiki quota`: how much a container may hold.
//!
//! ```text
//! resize.volume   resize.record
//! ```
//!
//! A resize is repeated after a kill, because it is idempotent and half of one (a grown device with the old file system in it) is no
//! state to leave. A quota is one atomic effect that the catalogue knows nothing of: it needs no journal.

use super::catalogue::Neighbourhood;
use super::catalogue::journal as rows;
use super::intent::{Intent, Resizing};
use super::journal::{Begun, unfinished};
use super::locks::Hold;
use super::request::ContainerKey;
use super::{Engine, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Resized;
use crate::units::Bytes;
use crate::volume::Volume;

impl Engine {
    /// Makes a container's volume larger or smaller, and returns the size that it got.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where volumes have no size, or not in that direction; [`ErrorKind::InvalidArgument`] for a size
    /// that the content does not fit in; [`ErrorKind::Busy`] when a running container would be made smaller;
    /// [`ErrorKind::NoSpace`]. Nothing was changed then.
    pub fn resize(&self, context: &Context, key: &ContainerKey, size: Bytes) -> Result<Bytes> {
        let shown = || format!("cannot resize `{}` to {size}", key.name);
        self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "resize")?;
        self.resize_locked(context, key, size).map_err(|error| error.while_doing(shown()))
    }

    fn resize_locked(&self, context: &Context, key: &ContainerKey, size: Bytes) -> Result<Bytes> {
        if size == Bytes(0) {
            return Err(Error::new(ErrorKind::InvalidArgument, "no volume is of size 0"));
        }
        relations::refuse_counted(key, "resize")?;
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let volume = ancestry.find(key, None)?.volume;
        let store = self.store_of(&volume)?.clone();
        let group = store.resize().ok_or_else(|| {
            let text = format!("volumes of the {} store have no size of their own", store.kind());
            let error = Error::new(ErrorKind::Unsupported, text);
            if store.quota().is_some() {
                error.with_hint(format!("`keiki quota {} SIZE` limits what it may hold", key.name))
            } else {
                error
            }
        })?;
        ancestry.lineage.may_write(volume.id)?;
        let known = self.wait(store.usage(context, std::slice::from_ref(&volume)))?;
        if known.first().and_then(|usage| usage.limit).is_some_and(|present| size < present) {
            self.require_idle(key, "shrink")?;
        }
        let resizing = Resizing { key: key.clone(), volume: volume.clone(), size };
        let begun = self.begin("resize", Intent::Resize(resizing), &[])?;
        let done = context
            .step("resize.volume")
            .and_then(|()| self.wait(group.resize(context, &volume, size)))
            .and_then(|done| self.sync_volumes(context, std::slice::from_ref(&volume)).map(|()| done));
        match done {
            Ok(done) => {
                self.record_size(&context.without_deadline(), begun, &volume, done).map_err(unfinished)
            }
            Err(error) => Err(self.take_back(begun, error, || Ok(()))),
        }
    }

    fn record_size(&self, context: &Context, begun: Begun, volume: &Volume, done: Resized) -> Result<Bytes> {
        context.step("resize.record")?;
        let row = self.catalogue.volume(volume.id)?;
        self.finish(begun, |db| match row {
            Some(mut row) => {
                row.volume.properties = done.properties;
                rows::put_volume(db, &row)
            }
            // Destroyed by whoever took the lock after us.
            None => Ok(()),
        })?;
        Ok(done.size)
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_resize(&self, context: &Context, begun: Begun, resizing: &Resizing) -> Result<()> {
        let Some(row) = self.catalogue.volume(resizing.volume.id)? else {
            return self.finish(begun, |_| Ok(()));
        };
        let store = self.store_of(&row.volume)?.clone();
        let group = store.resize().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the {} store cannot resize any more", store.kind()))
        })?;
        match self.wait(group.resize(context, &row.volume, resizing.size)) {
            Ok(done) => self.record_size(context, begun, &row.volume, done).map(drop),
            // It was refused before anything was done, and would be so forever.
            Err(error) if is_refusal(error.kind()) => self.finish(begun, |_| Ok(())),
            Err(error) => Err(error),
        }
    }

    /// Limits what a container may hold; `None` lifts the limit.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the store sets no limits; [`ErrorKind::Unavailable`] where its file system keeps none.
    pub fn quota(&self, context: &Context, key: &ContainerKey, limit: Option<Bytes>) -> Result<()> {
        let shown = || format!("cannot limit `{}`", key.name);
        self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "quota")?;
        self.quota_locked(context, key, limit).map_err(|error| error.while_doing(shown()))
    }

    fn quota_locked(&self, context: &Context, key: &ContainerKey, limit: Option<Bytes>) -> Result<()> {
        if limit == Some(Bytes(0)) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a limit of 0 would leave no room for anything",
            )
            .with_hint("`none` lifts the limit"));
        }
        let volume = self.ancestry(key, Neighbourhood::Upwards)?.find(key, None)?.volume;
        let store = self.store_of(&volume)?.clone();
        let group = store.quota().ok_or_else(|| {
            let text = format!("the {} store sets no limits", store.kind());
            let error = Error::new(ErrorKind::Unsupported, text);
            if store.resize().is_some() {
                error.with_hint(format!("`keiki resize {} SIZE` changes the size of its volume", key.name))
            } else {
                error.with_hint("`keiki stores` shows which stores do")
            }
        })?;
        context.step("quota.volume")?;
        self.wait(group.set_quota(context, &volume, limit))
    }
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unsupported | ErrorKind::InvalidArgument | ErrorKind::NotFound | ErrorKind::NoSpace
    )
}

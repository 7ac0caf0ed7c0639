//! `keiki create`: an empty volume, filled once, with its configuration.

use super::intent::{Made, Make};
use super::make::Plan;
use super::request::{CloneConfig, CreateContainer, Identity, Outcome, Payload};
use super::{Engine, home};
use crate::capability::Cost;
use crate::context::Context;
use crate::error::{Result, ResultExt};
use crate::mount_plan::{self, AttachMode};
use crate::store::{BackingStore, Pool};
use crate::volume::Volume;

use super::request::Fill;
use std::os::fd::AsFd;

impl Engine {
    /// Makes a container.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) and [`Foreign`](crate::ErrorKind::Foreign) when the name is
    /// taken; what the choice of the store, the store and the fill say. Nothing is left then.
    pub fn create(&self, context: &Context, request: CreateContainer<'_>) -> Result<Outcome> {
        let key = &request.key;
        let shown = || format!("cannot create container `{}`", key.name);
        self.catalogue.require_writable()?;
        self.recover()?;
        std::fs::create_dir_all(&key.lxcpath)
            .or_err(|| format!("cannot make the directory `{}`", key.lxcpath.display()))?;
        let pool = Pool { path: key.lxcpath.clone(), options: request.options.clone() };
        let store = self.wait(self.registry.choose(&request.store, &pool))?;
        self.require_free(context, key)?;
        let options = self.registry.options(&store.kind(), &request.options);
        let plan =
            Plan { store: store.as_ref(), container: key, snapshot: None, options: &options, origin: None };
        let made = plan.decide(|_| Vec::new(), &[])?;
        let config = self.config_of_new(&request.config, &made)?;
        let make = Make { verb: "create".to_owned(), made: vec![made.clone()], freeze: None };
        let fill = request.fill;
        self.make(context, make, std::slice::from_ref(key), |_| {
            context.step("create.volume")?;
            let staged = made.staged_volume();
            self.wait(store.create(context, &staged))?;
            if let Some(fill) = fill {
                context.step("create.fill")?;
                self.fill(context, store.as_ref(), &staged, fill)?;
            }
            context.step("create.config")?;
            home::write_new(&made.staging, "config", &config)
        })
        .map_err(|error| error.while_doing(shown()))?;
        Ok(Outcome { name: key.name.to_string(), volume: made.volume, means: None, cost: Cost::Constant })
    }

    pub(super) fn config_of_new(&self, template: &[u8], made: &Made) -> Result<Vec<u8>> {
        self.editor.for_clone(
            template,
            &CloneConfig {
                name: &made.container.name,
                old_home: &made.home,
                home: &made.home,
                source: &made.volume.source.to_string(),
                identity: Identity::Renamed,
                payload: Payload::Persistent,
            },
        )
    }

    fn fill(
        &self,
        context: &Context,
        store: &dyn BackingStore,
        volume: &Volume,
        fill: &mut dyn Fill,
    ) -> Result<()> {
        let plan = self.wait(store.attach(context, volume, AttachMode::Fill))?;
        let filled = mount_plan::execute(&plan).and_then(|root| fill.fill(context, root.as_fd()));
        // The device must not stay active, whatever the fill says; its own error weighs more.
        let detached = self.wait(store.detach(context, volume));
        filled.and(detached)
    }
}

//! Which subgroups a local publisher has open: each has one stream, and no two streams have the same header at a time
//! (draft-14 §2.2, §10.4).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    model::SubgroupId,
    track::{SubgroupOptions, WriteError},
    transport::lock,
};

/// How a subgroup is told from others of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Id(u64),
    /// Not known yet: only the rest of its header tells it from others.
    FirstObject {
        publisher_priority: u8,
        extensions: bool,
        end_of_group: bool,
    },
}

/// The open subgroups of one publisher. The track's `max_streams` bounds it.
#[derive(Debug, Default)]
pub(super) struct OpenSubgroups(Mutex<BTreeSet<(u64, Name)>>);

impl OpenSubgroups {
    fn names(&self) -> MutexGuard<'_, BTreeSet<(u64, Name)>> {
        lock(&self.0)
    }

    fn take(&self, group: u64, name: Name) -> Result<(), WriteError> {
        match self.names().insert((group, name)) {
            true => Ok(()),
            false => Err(WriteError::SubgroupOpen { group }),
        }
    }
}

/// One open subgroup; the next one with its header may be opened when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    open: Arc<OpenSubgroups>,
    group: u64,
    name: Name,
    /// The Subgroup ID of one that is named by its first object.
    first_object: Option<u64>,
}

impl Claim {
    pub(super) fn new(
        open: &Arc<OpenSubgroups>,
        options: &SubgroupOptions,
    ) -> Result<Self, WriteError> {
        let name = match options.subgroup {
            SubgroupId::Zero => Name::Id(0),
            SubgroupId::Explicit(id) => Name::Id(id),
            SubgroupId::FirstObject => Name::FirstObject {
                publisher_priority: options.publisher_priority,
                extensions: options.extensions,
                end_of_group: options.end_of_group,
            },
        };
        open.take(options.group, name)?;
        Ok(Self {
            open: open.clone(),
            group: options.group,
            name,
            first_object: None,
        })
    }

    /// An object is about to be published; undone with [`Claim::no_first_object`] if it was not. `true`: it names the
    /// subgroup.
    pub(super) fn first_object(&mut self, object: u64) -> Result<bool, WriteError> {
        if self.first_object.is_some() || matches!(self.name, Name::Id(_)) {
            return Ok(false);
        }
        self.open.take(self.group, Name::Id(object))?;
        self.first_object = Some(object);
        Ok(true)
    }

    pub(super) fn no_first_object(&mut self) {
        if let Some(object) = self.first_object.take() {
            self.open.names().remove(&(self.group, Name::Id(object)));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.no_first_object();
        self.open.names().remove(&(self.group, self.name));
    }
}

//! Things with names that stay valid, in the order in which they were last touched.

use super::ids::RunId;

/// No slot.
const NONE: u32 = u32::MAX;

/// Slots that are used again, linked from the one touched longest ago to the one touched last.
#[derive(Debug)]
pub(super) struct Ring<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    #[cfg(any(test, fuzzing))]
    pub(super) lookups: std::cell::Cell<usize>,
}

/// Things stand outside of it, so that slots which are free cost little.
#[derive(Debug)]
struct Slot<T> {
    item: Option<Box<T>>,
    /// How often the slot was used, so that a name does not outlive its thing.
    generation: u32,
    older: u32,
    newer: u32,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            #[cfg(any(test, fuzzing))]
            lookups: std::cell::Cell::default(),
        }
    }
}

impl<T> Ring<T> {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Memory that the slots hold, used or not.
    pub(super) fn cost(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// Adds the thing that `make` makes of its name, as the one touched last.
    pub(super) fn insert(&mut self, make: impl FnOnce(RunId) -> T) -> RunId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                item: None,
                generation: 0,
                older: NONE,
                newer: NONE,
            });
            (self.slots.len() - 1) as u32
        });
        let generation = self
            .slots
            .get(at as usize)
            .map_or(0, |slot| slot.generation);
        let id = RunId(u64::from(generation) << 32 | u64::from(at));
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.item = Some(Box::new(make(id)));
        }
        self.link(at);
        id
    }

    fn slot(&self, id: &RunId) -> Option<u32> {
        let at = id.0 as u32;
        let slot = self.slots.get(at as usize)?;
        (slot.generation == (id.0 >> 32) as u32 && slot.item.is_some()).then_some(at)
    }

    pub(super) fn get(&self, id: &RunId) -> Option<&T> {
        #[cfg(any(test, fuzzing))]
        self.lookups.set(self.lookups.get() + 1);
        let at = self.slot(id)?;
        self.slots.get(at as usize)?.item.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: &RunId) -> Option<&mut T> {
        let at = self.slot(id)?;
        self.slots.get_mut(at as usize)?.item.as_deref_mut()
    }

    pub(super) fn remove(&mut self, id: &RunId) -> Option<T> {
        let at = self.slot(id)?;
        self.unlink(at);
        self.free.push(at);
        let slot = self.slots.get_mut(at as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.item.take().map(|item| *item)
    }

    /// Removes everything; names from before stay invalid.
    pub(super) fn clear(&mut self) {
        let mut at = self.oldest;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            slot.item = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(at);
            at = slot.newer;
        }
        (self.newest, self.oldest) = (NONE, NONE);
    }

    /// Makes a thing the one touched last.
    pub(super) fn touch(&mut self, id: &RunId) {
        if let Some(at) = self.slot(id).filter(|at| *at != self.newest) {
            self.unlink(at);
            self.link(at);
        }
    }

    /// From the one touched last to the one touched longest ago.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &T> {
        let mut at = self.newest;
        std::iter::from_fn(move || {
            let slot = self.slots.get(at as usize)?;
            at = slot.older;
            slot.item.as_deref()
        })
    }

    fn link(&mut self, at: u32) {
        let newest = std::mem::replace(&mut self.newest, at);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            (slot.older, slot.newer) = (newest, NONE);
        }
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((older, newer)) = self
            .slots
            .get(at as usize)
            .map(|slot| (slot.older, slot.newer))
        else {
            return;
        };
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_plain_list(steps in prop::collection::vec((0_u8..4, 0_usize..8), 0..80)) {
            let (mut ring, mut plain, mut gone) = (Ring::default(), Vec::new(), Vec::new());
            for (step, at) in steps {
                let chosen = (!plain.is_empty()).then(|| at % plain.len().max(1));
                match (step, chosen) {
                    (0 | 1, _) | (_, None) => plain.push(ring.insert(|id| id)),
                    (2, Some(at)) => {
                        let id = plain.remove(at);
                        ring.touch(&id);
                        plain.push(id);
                    }
                    (_, Some(at)) => {
                        let id = plain.remove(at);
                        prop_assert_eq!(ring.remove(&id), Some(id));
                        gone.push(id);
                    }
                }
                let order: Vec<_> = ring.newest_first().copied().collect();
                let expected: Vec<_> = plain.iter().rev().copied().collect();
                prop_assert_eq!(order, expected);
                prop_assert_eq!(ring.len(), plain.len());
                prop_assert!(gone.iter().all(|id| ring.get(id).is_none()));
                prop_assert!(plain.iter().all(|id| ring.get(id) == Some(id)));
            }
            ring.clear();
            prop_assert_eq!(ring.len(), 0);
            prop_assert!(plain.iter().all(|id| ring.get_mut(id).is_none()));
        }
    }
}

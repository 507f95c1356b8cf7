//! A map of bounded size that forgets what came first.

use std::collections::{BTreeMap, VecDeque};

/// Values by their keys, the latest so many.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    values: BTreeMap<K, V>,
    /// The key that came first is the next to be forgotten.
    order: VecDeque<K>,
    max: usize,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    /// Holds `max` values, one at least.
    pub(super) fn new(max: usize) -> Self {
        Self {
            values: BTreeMap::new(),
            order: VecDeque::new(),
            max: max.max(1),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// Sets the value of `key`. If there are too many then, the one that came first is forgotten.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.values.len() > self.max
            && let Some(first) = self.order.pop_front()
        {
            self.values.remove(&first);
        }
    }

    /// The value of `key`; a new one if there is none.
    pub(super) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if !self.values.contains_key(&key) {
            self.insert(key, V::default());
        }
        self.values.entry(key).or_default()
    }

    /// Forgets one value; quick if it came lately.
    pub(super) fn remove(&mut self, key: &K) {
        if self.values.remove(key).is_some()
            && let Some(at) = self.order.iter().rposition(|known| known == key)
        {
            self.order.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_is_forgotten_first() {
        let mut recent = Recent::new(3);
        for key in [5, 1, 9, 5] {
            *recent.entry(key) += key;
        }
        assert_eq!(recent.get(&5), Some(&10));
        recent.insert(2, 7);
        assert_eq!((recent.get(&5), recent.get(&2)), (None, Some(&7)));
        recent.remove(&1);
        recent.remove(&1);
        recent.entry(3);
        recent.insert(4, 0);
        recent.insert(3, 1);
        let kept: Vec<_> = recent.values.keys().copied().collect();
        assert_eq!(kept, [2, 3, 4]);
        assert_eq!(recent.order, [2, 3, 4]);
    }
}

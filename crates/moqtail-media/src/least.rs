//! The least of values that come and go.

use std::collections::BTreeMap;

/// Values with how often each is there.
#[derive(Debug, Clone)]
pub(crate) struct Least<T>(BTreeMap<T, usize>);

impl<T> Default for Least<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Least<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.first_key_value().map(|(value, _)| value)
    }

    pub(crate) fn insert(&mut self, value: T) {
        *self.0.entry(value).or_default() += 1;
    }

    /// Takes out one value equal to this one.
    pub(crate) fn remove(&mut self, value: &T) {
        if let Some(times) = self.0.get_mut(value) {
            *times -= 1;
            if *times == 0 {
                self.0.remove(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::*;

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A number that counts how often it is looked at.
    #[derive(Debug, PartialEq, Eq)]
    struct Counted(u32);

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn equal_values_go_one_at_a_time() {
        let mut least = Least::default();
        [3, 1, 1, 2].into_iter().for_each(|n| least.insert(n));
        for (gone, left) in [
            (3, Some(1)),
            (1, Some(1)),
            (1, Some(2)),
            (7, Some(2)),
            (2, None),
        ] {
            least.remove(&gone);
            assert_eq!(least.get().copied(), left, "without {gone}");
        }
    }

    #[test]
    fn many_values_are_not_looked_through_for_the_least() {
        const COUNT: u32 = 10_000;
        let mut least = Least::default();
        (0..COUNT).for_each(|n| least.insert(Counted(n)));
        for n in 0..COUNT {
            assert_eq!(least.get(), Some(&Counted(n)));
            least.remove(&Counted(n));
        }
        let each = COMPARED.get() / COUNT as usize;
        assert!(each < 100, "{each} comparisons for each value");
    }
}

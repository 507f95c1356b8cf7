//! A list of what may be gone by the time it is looked at.

/// A list that grows with what lives, not with all that ever came. What of it is gone, its user tells.
#[derive(Debug)]
pub(crate) struct Swept<T> {
    items: Vec<T>,
}

impl<T> Default for Swept<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> Swept<T> {
    /// Room beyond what is there.
    const SPARE: usize = 16;

    /// Adds one; when the list is full it first forgets what is gone.
    pub(crate) fn push(&mut self, item: T, is_gone: impl Fn(&T) -> bool) {
        if self.items.len() == self.items.capacity() {
            self.items.retain(|item| !is_gone(item));
            // So many have to come before it is full again: each pays for a look at two.
            self.items.reserve(self.items.len() + Self::SPARE);
        }
        self.items.push(item);
    }

    /// Forgets what is gone and gives its room back; the rest.
    pub(crate) fn sweep(&mut self, is_gone: impl Fn(&T) -> bool) -> &[T] {
        self.items.retain(|item| !is_gone(item));
        self.items.shrink_to(2 * self.items.len() + Self::SPARE);
        &self.items
    }

    /// What is left of it.
    pub(crate) fn into_items(self) -> Vec<T> {
        self.items
    }

    /// Length and capacity.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.items.len(), self.items.capacity())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[test]
    fn who_joins_and_leaves_does_not_have_all_others_looked_at() {
        let looks = Cell::new(0);
        let is_gone = |item: &Rc<Cell<bool>>| {
            looks.set(looks.get() + 1);
            item.get()
        };
        let mut list = Swept::default();
        let mut living = 0;
        // The worst length is the one that leaves no room.
        while living < 8000 || list.size().0 + 1 < list.size().1 {
            list.push(Rc::default(), is_gone);
            living += 1;
        }
        looks.set(0);
        for _ in 0..1000 {
            let joined: Rc<Cell<bool>> = Rc::default();
            list.push(joined.clone(), is_gone);
            joined.set(true);
        }
        assert!(
            looks.get() <= 2 * living,
            "{} looks at {living}",
            looks.get()
        );
    }

    #[test]
    fn room_is_given_back_when_most_are_gone() {
        let mut list = Swept::default();
        for number in 0..10_000 {
            list.push(number, |_| false);
        }
        assert_eq!(list.sweep(|number| *number >= 10).len(), 10);
        assert!(list.size().1 < 100, "{:?}", list.size());
    }
}

//! Counts of what was compared, so that a type that was never compared fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Comparisons of one type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Valid values.
    pub values: usize,
    /// Damaged bytes on which both verdicts agree.
    pub mutants: usize,
    /// Differences that are on the list.
    pub known: usize,
}

/// Comparisons by type, and how often each known difference was met.
#[derive(Debug, Default)]
pub struct Report {
    types: BTreeMap<String, Counts>,
    differences: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Counts a valid value.
    pub fn value(&mut self, kind: &str) {
        self.types.entry(kind.to_owned()).or_default().values += 1;
    }

    /// Counts damaged bytes on which both codecs agree.
    pub fn mutant(&mut self, kind: &str) {
        self.types.entry(kind.to_owned()).or_default().mutants += 1;
    }

    /// Counts a difference that is on the list under `name`.
    pub fn known(&mut self, kind: &str, name: &'static str) {
        self.types.entry(kind.to_owned()).or_default().known += 1;
        *self.differences.entry(name).or_default() += 1;
    }

    /// All types.
    pub fn names(&self) -> Vec<&str> {
        self.types.keys().map(String::as_str).collect()
    }

    /// Types that were not compared at all in one of the two ways.
    pub fn gaps(&self) -> Vec<&str> {
        let gap = |counts: &Counts| counts.values == 0 || counts.mutants == 0;
        let types = self.types.iter().filter(|(_, counts)| gap(counts));
        types.map(|(name, _)| name.as_str()).collect()
    }

    /// Of `listed` differences, those that were never met.
    pub fn unused(&self, listed: &BTreeSet<&'static str>) -> Vec<&'static str> {
        let unused = listed
            .iter()
            .filter(|name| !self.differences.contains_key(*name));
        unused.copied().collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>8} {:>8} {:>8}",
            "type", "values", "mutants", "known"
        )?;
        for (name, counts) in &self.types {
            let Counts {
                values,
                mutants,
                known,
            } = counts;
            writeln!(f, "{name:<28} {values:>8} {mutants:>8} {known:>8}")?;
        }
        for (name, count) in &self.differences {
            writeln!(f, "known difference, {count} times: {name}")?;
        }
        Ok(())
    }
}

//! Wall 7: no two files of a crate import each other in a loop; what several need stands below them.
//!
//! What counts as an import of a file:
//! - a path is an import of the file that *defines* what it names: re-exports are followed, so
//!   `super::Thing` is an import of the sibling that defines `Thing`, not of `mod.rs`;
//! - `mod name;` and each `use` of what lies below are the facade of a folder and import nothing, unless
//!   the file's own code uses the name; a path in code does import;
//! - naming a module as a whole (`use crate::model;`) imports nothing by itself, but each path
//!   through that name does;
//! - test code does not count.

use std::collections::{BTreeMap, VecDeque};

use super::rule::Violation;
use crate::{
    paths::{Form, References, Target},
    source::CrateSource,
};

/// Imported file and the line of the first import.
type Edges = BTreeMap<usize, usize>;

pub(super) fn check(source: &CrateSource, references: &References<'_>) -> Vec<Violation> {
    let graph: Vec<Edges> = (0..source.files.len())
        .map(|file| imports(source, references, file))
        .collect();
    let mut reported = vec![false; graph.len()];
    let mut found = Vec::new();
    for start in 0..graph.len() {
        if reported[start] {
            continue;
        }
        let Some(cycle) = shortest_loop(&graph, start) else {
            continue;
        };
        let steps: Vec<String> = cycle
            .iter()
            .zip(cycle.iter().cycle().skip(1))
            .map(|(from, to)| {
                let [from_name, to_name] =
                    [from, to].map(|&file| source.inner_path(&source.files[file]));
                format!("{from_name}:{} uses {to_name}", graph[*from][to])
            })
            .collect();
        for &file in &cycle {
            reported[file] = true;
        }
        let line = graph[cycle[0]][&cycle[1 % cycle.len()]];
        let message = format!(
            "files import each other in a loop ({}): move what several need into a file below them",
            steps.join(", ")
        );
        found.push(Violation::new(&source.files[start], line, "loops", message));
    }
    found
}

fn imports(source: &CrateSource, references: &References<'_>, file: usize) -> Edges {
    let mut edges = Edges::new();
    let this = &source.files[file];
    for reference in references
        .of(file)
        .iter()
        .filter(|reference| !reference.in_test)
    {
        let Some(target) = references.resolve(&reference.path) else {
            continue;
        };
        let other = target.file();
        let below = source.files[other].module.starts_with(&this.module);
        let facade = below
            && match (reference.form, &reference.binds) {
                (Form::Inline, _) => false,
                (_, Some(name)) => !references.uses(file, name),
                (form, None) => form == Form::Reexport,
            };
        let names_module = matches!(target, Target::Module(_));
        if other != file && !facade && !names_module {
            edges.entry(other).or_insert(reference.line);
        }
    }
    edges
}

/// The files of the shortest loop through `start`, beginning with it.
fn shortest_loop(graph: &[Edges], start: usize) -> Option<Vec<usize>> {
    let mut came_from = vec![None; graph.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &next in graph[file].keys() {
            if next == start {
                let mut cycle = vec![file];
                while let Some(before) = came_from[cycle[cycle.len() - 1]] {
                    cycle.push(before);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(file);
                queue.push_back(next);
            }
        }
    }
    None
}

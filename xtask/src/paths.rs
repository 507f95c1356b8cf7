//! What the files of a crate refer to: every path, made absolute, and the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::source::{CrateSource, SourceFile, TokenKind, is_test_only};

/// How a path is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In an expression, type or macro.
    Inline,
    /// In a `use` that stays inside its module and the modules below.
    Import,
    /// In a `pub use`, `pub(crate) use` or `pub(super) use`.
    Reexport,
}

/// A path with at least two segments, as `crate::…` or from an external crate's name on.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Absolute path; the last segment of a glob import is `*`.
    pub path: Vec<String>,
    /// Name that an import binds; `None` for a glob and for [`Form::Inline`].
    pub binds: Option<String>,
    /// How it is written.
    pub form: Form,
    /// Line in the file, from 1.
    pub line: usize,
    /// Compiled for tests only.
    pub in_test: bool,
}

impl Reference {
    /// The path as text.
    pub fn text(&self) -> String {
        self.path.join("::")
    }

    /// Whether the path is `prefix` or below it.
    pub fn is_below(&self, prefix: &str) -> bool {
        let prefix: Vec<&str> = prefix.split("::").collect();
        self.path.len() >= prefix.len() && self.path.iter().zip(prefix).all(|(a, b)| a == b)
    }
}

/// References and definitions of all files of a crate; indices are those of [`CrateSource::files`].
pub struct References<'a> {
    source: &'a CrateSource,
    files: Vec<FileReferences>,
}

#[derive(Default)]
struct FileReferences {
    references: Vec<Reference>,
    bindings: BTreeMap<String, Vec<String>>,
    defined: BTreeSet<String>,
    used: BTreeSet<String>,
}

/// What a path of the crate leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A module as a whole; the index of its file.
    Module(usize),
    /// Something inside a file; re-exports are followed to the file that defines it.
    Item(usize),
}

impl Target {
    /// Index of the file.
    pub fn file(self) -> usize {
        match self {
            Self::Module(file) | Self::Item(file) => file,
        }
    }
}

impl<'a> References<'a> {
    /// Collects the references of a crate.
    pub fn collect(source: &'a CrateSource) -> Self {
        Self {
            source,
            files: source.files.iter().map(FileReferences::of).collect(),
        }
    }

    /// All references of a file.
    pub fn of(&self, file: usize) -> &[Reference] {
        &self.files[file].references
    }

    /// The absolute path that a file's import gave to a name.
    pub fn binding(&self, file: usize, name: &str) -> Option<&[String]> {
        self.files[file].bindings.get(name).map(Vec::as_slice)
    }

    /// Whether code of a file, outside `use` and tests, holds a name.
    pub fn uses(&self, file: usize, name: &str) -> bool {
        self.files[file].used.contains(name)
    }

    /// Follows a path that starts with `crate`; `None` for paths of other crates.
    pub fn resolve(&self, path: &[String]) -> Option<Target> {
        const MAX_REEXPORTS: usize = 8;
        self.follow(path, MAX_REEXPORTS)
    }

    fn follow(&self, path: &[String], depth: usize) -> Option<Target> {
        let (first, inner) = path.split_first()?;
        if first != "crate" {
            return None;
        }
        let (length, file) = (0..=inner.len())
            .rev()
            .find_map(|length| Some((length, self.source.module(&inner[..length])?)))?;
        match inner.get(length) {
            None => Some(Target::Module(file)),
            Some(name) => Some(
                self.definer(file, name, depth)
                    .unwrap_or(Target::Item(file)),
            ),
        }
    }

    /// The place that defines what a file calls `name`.
    fn definer(&self, file: usize, name: &str, depth: usize) -> Option<Target> {
        if self.files[file].defined.contains(name) {
            return Some(Target::Item(file));
        }
        let depth = depth.checked_sub(1)?;
        let imports = self.files[file]
            .references
            .iter()
            .filter(|one| one.form != Form::Inline);
        if let Some(import) = imports
            .clone()
            .find(|import| import.binds.as_deref() == Some(name))
        {
            return self
                .follow(&import.path, depth)
                .or(Some(Target::Item(file)));
        }
        imports
            .filter(|import| import.binds.is_none())
            .find_map(|glob| {
                let Some(Target::Module(below)) =
                    self.follow(&glob.path[..glob.path.len() - 1], depth)
                else {
                    return None;
                };
                self.definer(below, name, depth)
            })
    }
}

impl FileReferences {
    fn of(file: &SourceFile) -> Self {
        let mut imports = Imports {
            file,
            inline: Vec::new(),
            found: Vec::new(),
            children: BTreeSet::new(),
        };
        imports.visit_file(&file.ast);
        let Imports {
            found, children, ..
        } = imports;

        let mut this = Self {
            defined: definitions(&file.ast),
            ..Self::default()
        };
        let unbound = Names {
            file,
            children: &children,
            bindings: BTreeMap::new(),
        };
        // Shipped imports give names their meaning before those of tests.
        let mut ordered: Vec<&Import> = found.iter().collect();
        ordered.sort_by_key(|import| import.in_test);
        for import in ordered {
            if let Some(name) = &import.binds {
                let path = || unbound.absolute(&import.inline, &import.path);
                this.bindings.entry(name.clone()).or_insert_with(path);
            }
        }
        let names = Names {
            file,
            children: &children,
            bindings: this.bindings.clone(),
        };
        for import in found {
            this.references.push(Reference {
                path: names.absolute(&import.inline, &import.path),
                binds: import.binds,
                form: import.form,
                line: import.line,
                in_test: import.in_test,
            });
        }
        let (paths, used) = outside_imports(file, &names);
        this.references.extend(paths);
        this.used = used;
        this
    }
}

/// Turns the paths of one file into absolute ones.
struct Names<'a> {
    file: &'a SourceFile,
    children: &'a BTreeSet<Vec<String>>,
    bindings: BTreeMap<String, Vec<String>>,
}

impl Names<'_> {
    fn absolute(&self, inline: &[String], path: &[String]) -> Vec<String> {
        let Some(first) = path.first() else {
            return Vec::new();
        };
        let here = || {
            ["crate".to_owned()]
                .into_iter()
                .chain(self.file.module.iter().cloned())
        };
        match first.as_str() {
            "crate" => path.to_vec(),
            "self" | "super" => {
                let mut base: Vec<String> = here().chain(inline.iter().cloned()).collect();
                let mut rest = path;
                while let Some((word, after)) = rest.split_first() {
                    match word.as_str() {
                        "self" => {}
                        "super" => drop(base.pop()),
                        _ => break,
                    }
                    rest = after;
                }
                base.extend_from_slice(rest);
                base
            }
            name if self
                .children
                .contains(&[inline, &[name.to_owned()]].concat()) =>
            {
                here()
                    .chain(inline.iter().cloned())
                    .chain(path.iter().cloned())
                    .collect()
            }
            name => match self.bindings.get(name) {
                Some(bound) => [bound, &path[1..]].concat(),
                None => path.to_vec(),
            },
        }
    }
}

struct Import {
    path: Vec<String>,
    inline: Vec<String>,
    binds: Option<String>,
    form: Form,
    line: usize,
    in_test: bool,
}

/// The `use` items of a file and the modules it declares.
struct Imports<'a> {
    file: &'a SourceFile,
    inline: Vec<String>,
    found: Vec<Import>,
    children: BTreeSet<Vec<String>>,
}

impl Imports<'_> {
    fn add(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>, form: Form) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add(&path.tree, prefix, form);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add(tree, prefix, form);
                }
            }
            syn::UseTree::Name(name) => self.push(prefix, &name.ident, &name.ident, form),
            syn::UseTree::Rename(rename) => self.push(prefix, &rename.ident, &rename.rename, form),
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                let path = prefix.iter().cloned().chain(["*".to_owned()]).collect();
                self.found.push(self.import(path, None, form, line));
            }
        }
    }

    fn push(&mut self, prefix: &[String], name: &syn::Ident, bound: &syn::Ident, form: Form) {
        let line = name.span().start().line;
        let mut path = prefix.to_vec();
        let mut binds = bound.to_string();
        if name == "self" && !prefix.is_empty() {
            if bound == "self" {
                binds = prefix[prefix.len() - 1].clone();
            }
        } else {
            path.push(name.to_string());
        }
        self.found.push(self.import(path, Some(binds), form, line));
    }

    fn import(&self, path: Vec<String>, binds: Option<String>, form: Form, line: usize) -> Import {
        let in_test = self.file.in_test(line);
        Import {
            path,
            inline: self.inline.clone(),
            binds,
            form,
            line,
            in_test,
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let form = match item.vis {
            syn::Visibility::Inherited => Form::Import,
            _ => Form::Reexport,
        };
        self.add(&item.tree, &mut Vec::new(), form);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inline.push(item.ident.to_string());
        self.children.insert(self.inline.clone());
        visit::visit_item_mod(self, item);
        self.inline.pop();
    }
}

/// Names that the top level of a file defines. What a macro defines there cannot be known without
/// expanding it, so every word in a top-level macro call counts.
fn definitions(ast: &syn::File) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in &ast.items {
        let name = match item {
            syn::Item::Const(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            syn::Item::Mod(item) if item.content.is_some() && !is_test_only(&item.attrs) => {
                &item.ident
            }
            syn::Item::Static(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Union(item) => &item.ident,
            syn::Item::Macro(item) => {
                words(item.mac.tokens.clone(), &mut names);
                let Some(name) = &item.ident else { continue };
                name
            }
            _ => continue,
        };
        names.insert(name.to_string());
    }
    names
}

fn words(stream: proc_macro2::TokenStream, names: &mut BTreeSet<String>) {
    for tree in stream {
        match tree {
            proc_macro2::TokenTree::Group(group) => words(group.stream(), names),
            proc_macro2::TokenTree::Ident(ident) => drop(names.insert(ident.to_string())),
            _ => {}
        }
    }
}

/// Paths and words outside `use` items, those inside macro calls included.
fn outside_imports(file: &SourceFile, names: &Names<'_>) -> (Vec<Reference>, BTreeSet<String>) {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(token) = file.tokens.get(at) {
        let start = at;
        at += 1;
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                inline.pop_if(|(_, opened)| *opened == depth);
            }
            "mod" if file.text(start + 2) == "{" => {
                inline.push((file.text(start + 1).to_owned(), depth));
            }
            "use" if token.kind == TokenKind::Ident && file.text(at) != "<" => {
                while file.tokens.get(at).is_some_and(|token| token.text != ";") {
                    at += 1;
                }
            }
            "pub"
                if file.text(at) == "("
                    && ["crate", "in", "self", "super"].contains(&file.text(at + 1)) =>
            {
                while file.tokens.get(at).is_some_and(|token| token.text != ")") {
                    at += 1;
                }
                at += 1;
            }
            _ if token.kind == TokenKind::Ident && starts_path(file, start) => {
                let mut path = vec![token.text.clone()];
                if !file.in_test(token.line) {
                    used.insert(token.text.clone());
                }
                while file.text(at) == "::"
                    && file
                        .tokens
                        .get(at + 1)
                        .is_some_and(|next| next.kind == TokenKind::Ident)
                {
                    path.push(file.tokens[at + 1].text.clone());
                    at += 2;
                }
                if path.len() > 1 {
                    let inline: Vec<String> = inline.iter().map(|(name, _)| name.clone()).collect();
                    found.push(Reference {
                        path: names.absolute(&inline, &path),
                        binds: None,
                        form: Form::Inline,
                        line: token.line,
                        in_test: file.in_test(token.line),
                    });
                }
            }
            _ => {}
        }
    }
    (found, used)
}

/// Not after a dot, a lifetime's mark, or as a later segment of a path.
fn starts_path(file: &SourceFile, at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map_or("", |at| file.text(at));
    match before(1) {
        "." | "'" => false,
        "::" => {
            let leads = at.checked_sub(2).map(|at| &file.tokens[at]);
            leads.is_none_or(|token| token.kind != TokenKind::Ident && token.text != ">")
        }
        _ => true,
    }
}

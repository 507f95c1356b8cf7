//! Rust sources of one crate as tokens, syntax trees and a tree of modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::Result;

/// What a [`Token`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Identifier or keyword, without a leading `r#`.
    Ident,
    /// Punctuation; `::` and `..` are one token each.
    Punct,
    /// Literal as written.
    Literal,
    /// Opening or closing bracket.
    Bracket,
}

/// One token of a file; comments are not tokens.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token as written.
    pub text: String,
    /// What it is.
    pub kind: TokenKind,
    /// Line in the file, from 1.
    pub line: usize,
}

/// One source file.
pub struct SourceFile {
    /// Path from the root of the checkout, with `/`.
    pub path: String,
    /// Module path inside its crate; empty for the crate root.
    pub module: Vec<String>,
    /// All tokens in order, brackets included.
    pub tokens: Vec<Token>,
    /// The syntax tree.
    pub ast: syn::File,
    test_lines: Vec<RangeInclusive<usize>>,
    is_test: bool,
}

impl SourceFile {
    /// Whether a line is compiled for tests only.
    pub fn in_test(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Positions of the tokens that are not compiled for tests only.
    pub fn shipped(&self) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(|&at| !self.in_test(self.tokens[at].line))
    }

    /// Whether the tokens from `at` on read as `texts`.
    pub fn reads(&self, at: usize, texts: &[&str]) -> bool {
        texts
            .iter()
            .enumerate()
            .all(|(offset, text)| self.text(at + offset) == *text)
    }

    /// The token at a position; empty past the end.
    pub fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }
}

/// All files of one crate.
pub struct CrateSource {
    /// Folder of the sources from the root of the checkout, such as `crates/moqtail/src`.
    pub dir: String,
    /// The files, ordered by path.
    pub files: Vec<SourceFile>,
    modules: BTreeMap<Vec<String>, usize>,
}

impl CrateSource {
    /// Reads `dir` under `root`. A folder that does not exist is a crate without files.
    pub fn load(root: &Path, dir: &str) -> Result<Self> {
        let mut files = Vec::new();
        for path in files_under(root, dir)? {
            if path.ends_with(".rs") {
                files.push(read_file(root, dir, path)?);
            }
        }
        mark_test_modules(&mut files);
        let modules = files
            .iter()
            .enumerate()
            .map(|(index, file)| (file.module.clone(), index))
            .collect();
        Ok(Self {
            dir: dir.to_owned(),
            files,
            modules,
        })
    }

    /// The file that holds exactly this module.
    pub fn module(&self, path: &[String]) -> Option<usize> {
        self.modules.get(path).copied()
    }

    /// Path of a file below the crate's source folder, such as `relay/hub.rs`.
    pub fn inner_path<'a>(&self, file: &'a SourceFile) -> &'a str {
        file.path[self.dir.len()..].trim_start_matches('/')
    }
}

/// Files under a folder as paths from `root`, ordered, without build output and installed packages.
pub fn files_under(root: &Path, dir: &str) -> Result<Vec<String>> {
    const SKIPPED: [&str; 5] = [".git", "artifacts", "corpus", "node_modules", "target"];
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            let kind = entry.file_type()?;
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(root: &Path, dir: &str, path: String) -> Result<SourceFile> {
    let text = fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
    let located = |error: &dyn std::fmt::Display, line: usize| format!("{path}:{line}: {error}");
    let stream: TokenStream = text
        .parse()
        .map_err(|error: proc_macro2::LexError| located(&error, error.span().start().line))?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    let ast = syn::parse_file(&text).map_err(|error| located(&error, error.span().start().line))?;
    let mut tests = TestLines::default();
    tests.visit_file(&ast);
    let mut module: Vec<String> = path[dir.len()..]
        .trim_start_matches('/')
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    let is_test = module.iter().any(|segment| segment == "tests");
    if module.last().is_some_and(|last| last == "mod")
        || (module.len() == 1 && ["lib", "main"].contains(&module[0].as_str()))
    {
        module.pop();
    }
    Ok(SourceFile {
        path,
        module,
        tokens,
        ast,
        test_lines: tests.lines,
        is_test,
    })
}

/// A file declared as `#[cfg(test)] mod name;` is test code, and so are the files below it.
fn mark_test_modules(files: &mut [SourceFile]) {
    let mut test_modules = BTreeSet::new();
    for file in &*files {
        for item in &file.ast.items {
            if let syn::Item::Mod(declared) = item
                && declared.content.is_none()
                && is_test_only(&declared.attrs)
            {
                let mut path = file.module.clone();
                path.push(declared.ident.to_string());
                test_modules.insert(path);
            }
        }
    }
    for file in files {
        file.is_test |= test_modules
            .iter()
            .any(|module| file.module.starts_with(module));
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let bracket = |text: &str, line| Token {
                    text: text.to_owned(),
                    kind: TokenKind::Bracket,
                    line,
                };
                tokens.push(bracket(open, line));
                flatten(group.stream(), tokens);
                tokens.push(bracket(close, group.span_close().start().line));
            }
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                let text = text.strip_prefix("r#").unwrap_or(&text).to_owned();
                tokens.push(Token {
                    text,
                    kind: TokenKind::Ident,
                    line,
                });
            }
            TokenTree::Punct(punct) => match tokens.last_mut() {
                Some(last)
                    if last.kind == TokenKind::Punct
                        && matches!(punct.as_char(), ':' | '.')
                        && last.text.len() == 1
                        && last.text.starts_with(punct.as_char()) =>
                {
                    last.text.push(punct.as_char());
                }
                _ => tokens.push(Token {
                    text: punct.as_char().to_string(),
                    kind: TokenKind::Punct,
                    line,
                }),
            },
            TokenTree::Literal(literal) => {
                tokens.push(Token {
                    text: literal.to_string(),
                    kind: TokenKind::Literal,
                    line,
                });
            }
        }
    }
}

/// Lines of the items that carry `#[test]` or a `#[cfg(…)]` that asks for `test`.
#[derive(Default)]
struct TestLines {
    lines: Vec<RangeInclusive<usize>>,
}

impl TestLines {
    fn note(&mut self, attrs: &[syn::Attribute], node: &impl Spanned) -> bool {
        let test = is_test_only(attrs);
        if test {
            let span = node.span();
            self.lines.push(span.start().line..=span.end().line);
        }
        test
    }
}

impl<'ast> Visit<'ast> for TestLines {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !self.note(item_attrs(item), item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !self.note(&item.attrs, item) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.note(&field.attrs, field);
    }
}

/// Attributes of an item.
pub fn item_attrs(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether `#[test]`, or a `#[cfg(…)]` that names `test` and negates nothing, is among the attributes.
pub fn is_test_only(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        if attr
            .path()
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "test")
        {
            return true;
        }
        let syn::Meta::List(list) = &attr.meta else {
            return false;
        };
        if !list.path.is_ident("cfg") {
            return false;
        }
        let mut tokens = Vec::new();
        flatten(list.tokens.clone(), &mut tokens);
        let named = |name: &str| tokens.iter().any(|token| token.text == name);
        named("test") && !named("not") && !named("any")
    })
}

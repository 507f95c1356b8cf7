//! Wall 8: the public surface names no type of the transport crates, and the library has no globals.

use syn::visit::{self, Visit};

use super::rule::Violation;
use crate::{
    paths::References,
    source::{CrateSource, SourceFile, is_test_only, item_attrs},
};

/// The documented escape hatch: the one file that may show these types.
const ESCAPE_HATCH: &str = "transport/escape.rs";

const HIDDEN_CRATES: [&str; 9] = [
    "aws_lc_rs",
    "h3",
    "quinn",
    "quinn_proto",
    "rcgen",
    "ring",
    "rustls",
    "rustls_pki_types",
    "tokio_rustls",
];

const SHARED_STATE: [&str; 6] = [
    "LazyLock",
    "Mutex",
    "OnceCell",
    "OnceLock",
    "RwLock",
    "thread_local",
];

const PRINTING: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

pub(super) fn check(source: &CrateSource, references: &References<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, file) in source.files.iter().enumerate() {
        tokens(file, &mut found);
        if source.inner_path(file) != ESCAPE_HATCH {
            let mut surface = Surface {
                file,
                index,
                references,
                hidden: Vec::new(),
                found: &mut found,
            };
            surface.hidden = private_types(&file.ast);
            for item in &file.ast.items {
                surface.item(item);
            }
        }
    }
    found
}

/// Globals and printing.
fn tokens(file: &SourceFile, found: &mut Vec<Violation>) {
    for at in file.shipped() {
        let token = &file.tokens[at];
        let mut report = |message: &str| {
            found.push(Violation::new(
                file,
                token.line,
                "surface",
                message.to_owned(),
            ));
        };
        if token.text == "static" && file.text(at.wrapping_sub(1)) != "'" {
            let declared = (at..at + 64)
                .map(|at| file.text(at))
                .take_while(|text| !["=", ";", ")", ">"].contains(text));
            let mut words = declared.skip(1);
            if words.any(|word| {
                word == "mut" || SHARED_STATE.contains(&word) || word.starts_with("Atomic")
            }) {
                report("a global: hold the state in a value, two relays run in one process");
            }
        }
        if file.reads(at, &["thread_local", "!"]) {
            report("a global: hold the state in a value, two relays run in one process");
        }
        if PRINTING.contains(&token.text.as_str()) && file.text(at + 1) == "!" {
            report("the library does not print: use tracing, or return it");
        }
    }
}

/// Looks for hidden crates in what a file makes public.
struct Surface<'a> {
    file: &'a SourceFile,
    index: usize,
    references: &'a References<'a>,
    hidden: Vec<String>,
    found: &'a mut Vec<Violation>,
}

impl Surface<'_> {
    fn item(&mut self, item: &syn::Item) {
        if is_test_only(item_attrs(item)) {
            return;
        }
        match item {
            syn::Item::Const(item) if public(&item.vis) => self.visit_type(&item.ty),
            syn::Item::Static(item) if public(&item.vis) => self.visit_type(&item.ty),
            syn::Item::Fn(item) if public(&item.vis) => self.visit_signature(&item.sig),
            syn::Item::Struct(item) if public(&item.vis) => {
                self.visit_generics(&item.generics);
                for field in item.fields.iter().filter(|field| public(&field.vis)) {
                    self.visit_type(&field.ty);
                }
            }
            syn::Item::Enum(item) if public(&item.vis) => {
                self.visit_generics(&item.generics);
                for field in item.variants.iter().flat_map(|variant| &variant.fields) {
                    self.visit_type(&field.ty);
                }
            }
            syn::Item::Type(item) if public(&item.vis) => {
                self.visit_generics(&item.generics);
                self.visit_type(&item.ty);
            }
            syn::Item::Trait(item) if public(&item.vis) => self.trait_item(item),
            syn::Item::Use(item) if public(&item.vis) => self.reexport(item),
            syn::Item::Impl(item) => self.impl_item(item),
            syn::Item::Mod(item) if public(&item.vis) => {
                for item in item.content.iter().flat_map(|(_, items)| items) {
                    self.item(item);
                }
            }
            _ => {}
        }
    }

    fn trait_item(&mut self, item: &syn::ItemTrait) {
        self.visit_generics(&item.generics);
        for bound in &item.supertraits {
            self.visit_type_param_bound(bound);
        }
        for item in &item.items {
            match item {
                syn::TraitItem::Fn(method) => self.visit_signature(&method.sig),
                other => self.visit_trait_item(other),
            }
        }
    }

    /// Methods of an inherent `impl`; the head and associated types of a trait's.
    fn impl_item(&mut self, item: &syn::ItemImpl) {
        if self.is_private(&item.self_ty) {
            return;
        }
        if let Some((path, _)) = &item.trait_ {
            self.visit_path(path);
            self.visit_type(&item.self_ty);
        }
        for member in &item.items {
            match member {
                syn::ImplItem::Type(member) if item.trait_.is_some() => self.visit_type(&member.ty),
                syn::ImplItem::Fn(member) if public(&member.vis) => {
                    self.visit_signature(&member.sig)
                }
                syn::ImplItem::Const(member) if public(&member.vis) => self.visit_type(&member.ty),
                _ => {}
            }
        }
    }

    fn is_private(&self, ty: &syn::Type) -> bool {
        let syn::Type::Path(path) = ty else {
            return false;
        };
        path.path
            .segments
            .last()
            .is_some_and(|last| self.hidden.contains(&last.ident.to_string()))
    }

    fn reexport(&mut self, item: &syn::ItemUse) {
        let line = item.use_token.span.start().line;
        let crates: Vec<String> = self
            .references
            .of(self.index)
            .iter()
            .filter(|one| one.line >= line && one.line <= item.semi_token.span.start().line)
            .map(|one| one.path[0].clone())
            .collect();
        for name in crates {
            self.name(&name, line);
        }
    }

    fn name(&mut self, root: &str, line: usize) {
        if HIDDEN_CRATES.contains(&root) || root.starts_with("web_transport") {
            let message = format!(
                "a public item shows a type of `{root}`: wrap it, make the item pub(crate), or put it \
                 into {ESCAPE_HATCH}"
            );
            self.found
                .push(Violation::new(self.file, line, "surface", message));
        }
    }
}

impl<'ast> Visit<'ast> for Surface<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            let name = first.ident.to_string();
            let root = match self.references.binding(self.index, &name) {
                Some(bound) => bound[0].clone(),
                None => name,
            };
            self.name(&root, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }
}

fn public(vis: &syn::Visibility) -> bool {
    matches!(vis, syn::Visibility::Public(_))
}

/// Types that a file declares without making them public.
fn private_types(ast: &syn::File) -> Vec<String> {
    ast.items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Struct(item) if !public(&item.vis) => Some(item.ident.to_string()),
            syn::Item::Enum(item) if !public(&item.vis) => Some(item.ident.to_string()),
            _ => None,
        })
        .collect()
}

//! Which file of `src` uses which: by its `use` lines and by the paths in its code, followed through every re-export to the file
//! that defines the name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemMod, ItemUse, Token, UseTree};

/// Segments of a module's path below the crate; the crate itself has none.
type Module = Vec<String>;

/// One source file, which is one module.
pub(crate) struct File {
    /// Below `src`, as `host/serve.rs`.
    pub(crate) path: String,
    pub(crate) syntax: syn::File,
    /// Names that it defines.
    defined: BTreeSet<String>,
    /// Names that its `use` lines bring in, with the path that each stands for.
    imported: BTreeMap<String, Vec<String>>,
    /// Modules of which it brings in everything.
    globs: Vec<Vec<String>>,
}

/// All files of the library, without those of its unit tests.
pub(crate) struct Sources {
    pub(crate) files: BTreeMap<Module, File>,
}

impl Sources {
    /// Reads `src`, beginning with `lib.rs`.
    pub(crate) fn read(src: &Path) -> Sources {
        let mut sources = Sources { files: BTreeMap::new() };
        sources.read_module(src, Module::new(), PathBuf::from("lib.rs"));
        sources
    }

    fn read_module(&mut self, src: &Path, module: Module, path: PathBuf) {
        let text = fs::read_to_string(src.join(&path)).expect("readable source");
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let folder = match path.file_name().and_then(|n| n.to_str()) {
            Some("lib.rs" | "mod.rs") => path.parent().expect("a folder").to_owned(),
            _ => path.with_extension(""),
        };
        let children: Vec<String> = syntax.items.iter().filter_map(module_of_file).collect();
        for name in children {
            let flat = folder.join(format!("{name}.rs"));
            let nested = folder.join(&name).join("mod.rs");
            let mut child = module.clone();
            child.push(name);
            let path = if src.join(&flat).exists() { flat } else { nested };
            self.read_module(src, child, path);
        }
        let mut file = File {
            path: path.to_string_lossy().into_owned(),
            defined: syntax.items.iter().filter_map(name_of).collect(),
            imported: BTreeMap::new(),
            globs: Vec::new(),
            syntax,
        };
        let uses = Uses::of(&file.syntax);
        file.imported = uses.names;
        file.globs = uses.globs;
        self.files.insert(module, file);
    }

    /// The file that defines what a path in a module stands for; `None` for another crate's, and for a mere module.
    fn definition(&self, module: &[String], path: &[String], depth: usize) -> Option<&Module> {
        let (mut at, mut rest) = self.start(module, path, depth)?;
        while let Some((first, more)) = rest.split_first() {
            let child = joined(&at, first);
            if self.files.contains_key(&child) {
                at = child;
                rest = more.to_vec();
                continue;
            }
            let (key, file) = self.files.get_key_value(&at)?;
            if file.defined.contains(first) {
                return Some(key);
            }
            let resolve = |path: &[String]| (depth > 0).then(|| self.definition(&at, path, depth - 1)).flatten();
            if let Some(stands_for) = file.imported.get(first) {
                let whole: Vec<String> = stands_for.iter().chain(more).cloned().collect();
                return resolve(&whole);
            }
            let mut globs = file.globs.iter();
            return globs.find_map(|glob| {
                let whole: Vec<String> = glob.iter().chain(&rest).cloned().collect();
                resolve(&whole)
            });
        }
        None
    }

    /// The module in which a path begins, and what is left of the path.
    fn start(&self, module: &[String], path: &[String], depth: usize) -> Option<(Module, Vec<String>)> {
        let (first, rest) = path.split_first()?;
        let file = self.files.get(module)?;
        match first.as_str() {
            "crate" => Some((Module::new(), rest.to_vec())),
            "self" => Some((module.to_vec(), rest.to_vec())),
            "super" => {
                let up = module.split_last()?.1.to_vec();
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.start(&up, rest, depth),
                    false => Some((up, rest.to_vec())),
                }
            }
            name if self.files.contains_key(&joined(module, name)) => Some((joined(module, name), rest.to_vec())),
            name => {
                let stands_for = file.imported.get(name)?;
                // A name that stands for itself is another crate's.
                if depth == 0 || stands_for.first() == Some(first) {
                    return None;
                }
                let whole: Vec<String> = stands_for.iter().chain(rest).cloned().collect();
                self.start(module, &whole, depth - 1)
            }
        }
    }

    /// Every file to the files that it uses, by their paths.
    pub(crate) fn arrows(&self) -> BTreeMap<String, BTreeSet<String>> {
        let arrow = |(module, file): (&Module, &File)| {
            let mut paths = Paths::default();
            paths.visit_file(&file_without_tests(&file.syntax));
            let used = paths.found.iter().chain(file.imported.values());
            let defining = used.filter_map(|path| self.definition(module, path, 16));
            let mut to: BTreeSet<&Module> = defining.collect();
            to.extend(file.globs.iter().filter_map(|glob| self.module(module, glob)));
            to.remove(module);
            to
        };
        let path = |module: &Module| self.files[module].path.clone();
        let all = self.files.iter();
        all.map(|(module, file)| (file.path.clone(), arrow((module, file)).into_iter().map(path).collect()))
            .collect()
    }

    /// The module that a path stands for.
    fn module(&self, module: &[String], path: &[String]) -> Option<&Module> {
        let (at, rest) = self.start(module, path, 16)?;
        let whole: Module = at.into_iter().chain(rest).collect();
        self.files.get_key_value(&whole).map(|(key, _)| key)
    }
}

fn joined(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The name of a module that has a file of its own and is no test.
fn module_of_file(item: &Item) -> Option<String> {
    match item {
        Item::Mod(ItemMod {
            attrs,
            ident,
            content: None,
            ..
        }) if !for_tests(attrs) => Some(ident.to_string()),
        _ => None,
    }
}

fn for_tests(attrs: &[Attribute]) -> bool {
    let is_test =
        |a: &Attribute| a.path().is_ident("cfg") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string() == "test");
    attrs.iter().any(is_test)
}

fn file_without_tests(file: &syn::File) -> syn::File {
    let mut file = file.clone();
    file.items
        .retain(|item| !matches!(item, Item::Mod(m) if for_tests(&m.attrs)));
    file
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::Type(i) => &i.ident,
        Item::Union(i) => &i.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        // Inside the same file.
        Item::Mod(i) if i.content.is_some() => &i.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// What the `use` lines of a file bring in, those inside functions too.
#[derive(Default)]
struct Uses {
    names: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

impl Uses {
    fn of(file: &syn::File) -> Uses {
        let mut uses = Uses::default();
        uses.visit_file(&file_without_tests(file));
        uses
    }

    fn add(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.add(&joined(before, &path.ident.to_string()), &path.tree),
            UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().expect("a path before `self`").clone();
                self.names.insert(last, before.to_vec());
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.names.insert(name.clone(), joined(before, &name));
            }
            UseTree::Rename(rename) => {
                let path = match rename.ident == "self" {
                    true => before.to_vec(),
                    false => joined(before, &rename.ident.to_string()),
                };
                self.names.insert(rename.rename.to_string(), path);
            }
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(before, tree)),
        }
    }
}

impl Visit<'_> for Uses {
    fn visit_item_use(&mut self, item: &ItemUse) {
        self.add(&[], &item.tree);
    }
}

/// Every path in the code of a file, those in the arguments of macros too.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
}

impl Visit<'_> for Paths {
    fn visit_path(&mut self, path: &syn::Path) {
        let segments = path.segments.iter().map(|s| s.ident.to_string());
        self.found.insert(segments.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &syn::Macro) {
        self.visit_path(&item.path);
        if let Ok(arguments) = item.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            arguments.iter().for_each(|argument| self.visit_expr(argument));
        }
    }
}

//! Who imports whom: the files of a crate as modules, and the paths in them, without what is only for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, Meta, UseTree,
    visit::{self, Visit},
};

/// The way to a module from the crate's root; the root is empty.
pub(crate) type Module = Vec<String>;

/// The files of a crate.
pub(crate) struct Crate {
    files: BTreeMap<Module, File>,
}

impl Crate {
    /// Reads the crate whose root is in `src`.
    pub(crate) fn read(src: &Path) -> Self {
        let mut found = Self {
            files: BTreeMap::new(),
        };
        let text = fs::read_to_string(src.join("lib.rs")).unwrap();
        found.add(src, Vec::new(), &text);
        found
    }

    /// Adds a module, and those that it declares in the directory `dir`.
    fn add(&mut self, dir: &Path, module: Module, text: &str) {
        let file = syn::parse_file(text).unwrap();
        for item in &file.items {
            let Item::Mod(item) = item else { continue };
            if item.content.is_some() || is_for_tests(&item.attrs) {
                continue;
            }
            let name = item.ident.to_string();
            let below = dir.join(&name);
            let beside = fs::read_to_string(dir.join(format!("{name}.rs")));
            let text = beside.or_else(|_| fs::read_to_string(below.join("mod.rs")));
            let mut inner = module.clone();
            inner.push(name);
            self.add(&below, inner, &text.unwrap());
        }
        self.files.insert(module, file);
    }

    /// For each module the others that it imports: neither those it lies in nor those that lie in it.
    pub(crate) fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let files = self.files.iter();
        let imports = files.map(|(module, file)| {
            let mut paths = Paths::default();
            paths.visit_file(file);
            let found = paths
                .found
                .iter()
                .filter_map(|path| self.target(module, path));
            let others =
                found.filter(|other| !other.starts_with(module) && !module.starts_with(other));
            (module.clone(), others.collect())
        });
        imports.collect()
    }

    /// The module that `path`, written in `module`, leads to, if it is one of this crate.
    fn target(&self, module: &Module, path: &[String]) -> Option<Module> {
        let mut names = path.iter().peekable();
        let mut here = match names.peek()?.as_str() {
            "crate" => {
                names.next();
                Vec::new()
            }
            "self" | "super" => module.clone(),
            name => {
                let mut inner = module.clone();
                inner.push(name.to_owned());
                self.files.get(&inner)?;
                module.clone()
            }
        };
        names.next_if(|name| *name == "self");
        while names.next_if(|name| *name == "super").is_some() {
            here.pop();
        }
        for name in names {
            here.push(name.clone());
            if !self.files.contains_key(&here) {
                here.pop();
                break;
            }
        }
        Some(here)
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let mut cfgs = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    cfgs.any(|cfg| match &cfg.meta {
        Meta::List(list) => {
            let mut words = list.tokens.to_string();
            words.retain(|c| !c.is_whitespace());
            words == "test" || words.starts_with("all(test")
        }
        _ => false,
    })
}

/// The paths in a file.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.found.push(with(&name.ident)),
            UseTree::Rename(name) => self.found.push(with(&name.ident)),
            UseTree::Glob(_) => self.found.push(before.to_vec()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
        }
    }
}

impl Visit<'_> for Paths {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        // Paths in a module within a file begin elsewhere; there are such modules for tests alone.
        if item.content.is_none() {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.add_tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // A single name is that of something imported or declared here.
        if names.len() > 1 {
            self.found.push(names);
        }
        visit::visit_path(self, path);
    }
}

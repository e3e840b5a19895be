//! The structure of the three crates, as it is written: no file imports in a circle, no folder sees one that sees
//! it, and `sync` and `models` never see each other.
#![allow(clippy::unwrap_used)]

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use self::imports::{Crate, Module};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A circle in `imports`, if there is one: each module imports the next, the last one the first.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut done = BTreeSet::new();
    imports
        .keys()
        .find_map(|start| walk(start, imports, &mut Vec::new(), &mut done))
}

fn walk(
    module: &Module,
    imports: &BTreeMap<Module, BTreeSet<Module>>,
    way: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(from) = way.iter().position(|before| before == module) {
        return Some(way[from..].to_vec());
    }
    if !done.insert(module.clone()) {
        return None;
    }
    way.push(module.clone());
    let next = imports.get(module).into_iter().flatten();
    let mut next = next.filter(|next| *next != module);
    let found = next.find_map(|next| walk(next, imports, way, done));
    way.pop();
    found
}

#[test]
fn no_file_imports_in_a_circle() {
    for name in ["sync", "models", "agent"] {
        let imports = Crate::read(&root().join(name).join("src")).imports();
        assert!(imports.len() > 20, "{name}: {}", imports.len());
        assert_eq!(circle(&imports), None, "{name}");
    }
}

/// The same among the modules at the root of a crate, each with all that lies in it.
fn between_folders(
    imports: &BTreeMap<Module, BTreeSet<Module>>,
) -> BTreeMap<Module, BTreeSet<Module>> {
    let folder = |module: &Module| module[..module.len().min(1)].to_vec();
    let mut folders: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (from, to) in imports {
        let from = folder(from);
        let to = to
            .iter()
            .map(folder)
            .filter(|to| *to != from && !to.is_empty());
        let to: Vec<Module> = to.collect();
        if !from.is_empty() {
            folders.entry(from).or_default().extend(to);
        }
    }
    folders
}

#[test]
fn no_folder_sees_one_that_sees_it() {
    for name in ["sync", "models", "agent"] {
        let imports = Crate::read(&root().join(name).join("src")).imports();
        let folders = between_folders(&imports);
        assert!(folders.len() > 5, "{name}: {}", folders.len());
        assert_eq!(circle(&folders), None, "{name}");
    }
}

#[test]
fn two_folders_that_see_each_other_are_found() {
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let imports = [("a::x", "b"), ("b", "c::y"), ("c", "a::z"), ("a", "a::x")];
    let imports = imports.map(|(from, to)| (module(from), [module(to)].into()));
    let imports: BTreeMap<_, _> = imports.into();
    assert_eq!(circle(&imports), None);
    let folders = between_folders(&imports);
    assert_eq!(circle(&folders), Some(["a", "b", "c"].map(module).to_vec()));
}

#[test]
fn sync_and_models_never_see_each_other() {
    for (name, other) in [("sync", "dunlin_models"), ("models", "dunlin_sync")] {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains(&other.replace('_', "-")), "{name}");
    }
}

#[test]
fn a_circle_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let imports = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("x", "a")];
    let imports = imports.map(|(from, to)| (module(from), [module(to)].into()));
    let mut imports: BTreeMap<_, _> = imports.into();
    assert_eq!(circle(&imports), Some(["b", "c", "d"].map(module).to_vec()));
    imports.remove(&module("d"));
    assert_eq!(circle(&imports), None);
}

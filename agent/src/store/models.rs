//! The versions of models in the data directory.

use std::path::Path;

use dunlin_models::registry::{Registry, RegistryError, RegistryOptions};

/// Opens the models in `data_dir`, made if need be; tells of damage in the log. Blocks on the disk.
///
/// # Errors
/// [`RegistryError`]. Damage is no error: it is set aside.
pub fn open_models(data_dir: &Path) -> Result<Registry, RegistryError> {
    let models = Registry::open(RegistryOptions::new(data_dir.join("models")))?;
    tell_damage(&models);
    Ok(models)
}

/// Tells the log of models found damaged since the last call.
pub fn tell_damage(models: &Registry) {
    for damage in models.take_damage() {
        let key = damage.key.map(|key| key.to_string());
        let (version, what) = (damage.number, damage.what);
        tracing::error!(
            key,
            version,
            what,
            "a model is damaged, set aside; the rest carries on"
        );
    }
}

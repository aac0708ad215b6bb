//! From a file to an [`Inventory`].

use std::path::Path;

use super::error::InventoryErrors;
use super::model::Inventory;
use super::validate;

impl Inventory {
    /// Reads and validates the inventory at `path`.
    ///
    /// Nothing is asked and nothing is connected to; the only other files read are those that `nginx.extra_files`
    /// names. Secrets stay [`SecretSource`]s until they are needed.
    ///
    /// # Errors
    ///
    /// Every problem found, in the order of writing. Where the text is not YAML at all, only that.
    pub fn load(path: &Path) -> Result<Inventory, InventoryErrors> {
        let bytes = std::fs::read(path).map_err(|e| InventoryErrors::unreadable(path, &e))?;
        let text = String::from_utf8(bytes).map_err(|e| InventoryErrors::not_utf8(path, &e))?;
        Inventory::parse(&text, path)
    }

    /// Validates `text` as if it had been read from `path`: relative paths in it start at that file's directory.
    ///
    /// # Errors
    ///
    /// As [`Inventory::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Inventory, InventoryErrors> {
        validate::inventory(text, path)
    }
}

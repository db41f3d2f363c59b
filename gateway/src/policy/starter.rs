//! The first policies of a new gateway.

use super::Error;
use super::schema::quoted;

const TEXT: &str = include_str!("starter.cedar");

/// The starter policies, with `admin_group` (`alias/name`) as those who look after the gateway.
///
/// # Errors
/// [`Error::AdminGroup`] when the group cannot stand in a policy.
pub fn starter(admin_group: &str) -> Result<String, Error> {
    let bad = || Error::AdminGroup(admin_group.to_owned());
    let (alias, name) = admin_group.split_once('/').ok_or_else(bad)?;
    let awkward = |c: char| c.is_control() || matches!(c, '"' | '\'' | '\\');
    if alias.is_empty() || name.is_empty() || admin_group.contains(awkward) {
        return Err(bad());
    }
    let who = if admin_group.contains(char::is_whitespace) {
        format!("'{admin_group}'")
    } else {
        admin_group.to_owned()
    };
    Ok(TEXT
        .replace("\"ADMIN GROUP\"", &quoted(admin_group))
        .replace("\"ADMIN APPROVAL\"", &quoted(&who)))
}

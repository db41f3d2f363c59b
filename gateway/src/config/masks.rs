//! Mask settings of functions, and what they share: the keys, and the ledger of what callers drew out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::Context;
use super::{ConnectionConfig, Fault, Loaded};
use crate::call::{Catalogue, ConnectionName, Function, FunctionId};
use crate::clock::SharedClock;
use crate::mask::{DataClass, Ledger, Mode, RequestGuard, Settings, Vault};
use crate::policy::Vocabulary;

/// What all mask settings share.
pub(super) struct Keys {
    /// The keys of pseudonyms and tokens.
    pub(super) vault: Option<Arc<Vault>>,
    /// None are configured; such that cannot be had are a fault of their own.
    none: bool,
    /// What callers drew out: that of the snapshot in force goes on.
    pub(super) ledger: Arc<Ledger>,
}

impl Keys {
    pub(super) fn of(loaded: &Loaded, context: &Context, faults: &mut Vec<Fault>) -> Self {
        let previous = context.previous.as_ref();
        let ledger = previous.map(|snapshot| Arc::clone(&snapshot.ledger));
        Self {
            vault: vault(loaded, context, faults),
            none: loaded.config.mask_keys.is_none(),
            ledger: ledger.unwrap_or_default(),
        }
    }
}

/// The keys of pseudonyms and tokens.
fn vault(loaded: &Loaded, context: &Context, faults: &mut Vec<Fault>) -> Option<Arc<Vault>> {
    let config = loaded.config.mask_keys.as_ref()?;
    match Vault::new(config, &loaded.base, Arc::clone(&context.clock)) {
        Ok(vault) => Some(Arc::new(vault)),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| {
                let place = format!("mask_keys.{}", fault.place);
                Fault::new(place, fault.message)
            }));
            None
        }
    }
}

/// Mask settings while a connection only observes: what would be masked is counted and left. Faults were
/// told when the same settings were compiled to be enforced.
pub(super) fn observed_masks(
    (name, keys): (&ConnectionName, &Keys),
    catalogue: &Catalogue,
    settings: &ConnectionConfig,
) -> BTreeMap<FunctionId, Arc<Settings>> {
    let watch = |config: &crate::mask::Config| {
        // The connection's own day ends it.
        let mode = match config.mode == Mode::Off.into() {
            true => Mode::Off.into(),
            false => Mode::Observe.into(),
        };
        let config = crate::mask::Config {
            mode,
            ..config.clone()
        };
        let settings = Settings::compile(&config).ok()?;
        Some(Arc::new(
            settings.with_vault(keys.vault.clone(), name.as_str()),
        ))
    };
    let shared = watch(&settings.mask);
    let declared = catalogue.functions().iter().map(|function| {
        let own = function.mask.as_ref().and_then(watch);
        (function.id.clone(), own.or_else(|| shared.clone()))
    });
    let undeclared = catalogue.undeclared().cloned();
    declared
        .chain(undeclared.map(|id| (id, shared.clone())))
        .filter_map(|(id, settings)| Some((id, settings?)))
        .collect()
}

/// Mask settings of every function: its own, or the connection's.
pub(super) fn masks(
    (name, keys, clock): (&ConnectionName, &Keys, &SharedClock),
    functions: &[Arc<Function>],
    settings: &ConnectionConfig,
    vocabulary: &mut Vocabulary,
    faults: &mut Vec<Fault>,
) -> Option<BTreeMap<FunctionId, Arc<Settings>>> {
    let before = faults.len();
    let mut compile = |config: &crate::mask::Config, place: String| match Settings::compile(config)
    {
        Ok(settings) if settings.needs_keys() && keys.none => {
            let fault = Fault::new(place, "pseudonyms and tokens need keys");
            faults.push(fault.help("give `mask_keys: { current: env:MASK_KEY }`"));
            None
        }
        Ok(settings) => {
            let settings = settings.with_vault(keys.vault.clone(), name.as_str());
            let settings = settings.with_clock(Arc::clone(clock));
            let settings = settings.with_ledger(Arc::clone(&keys.ledger), name.as_str());
            let long = settings.observes_too_long();
            faults.extend(long.map(|text| Fault::new(format!("{place}.mode"), text)));
            Some(Arc::new(settings))
        }
        Err(found) => {
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| Fault::new(place.clone(), fault)),
            );
            None
        }
    };
    let shared = compile(&settings.mask, format!("connections.{name}.mask"));
    let mut masks = BTreeMap::new();
    for function in functions {
        let own = match &function.mask {
            Some(config) => compile(
                config,
                format!("connections.{name}.functions: {}: mask", function.id.name()),
            ),
            None => shared.clone(),
        };
        if let Some(own) = own {
            let classes: BTreeSet<DataClass> = own.classes().iter().cloned().collect();
            let given = function.classes.iter().map(|(_, class)| class);
            // A class that is only replaced in requests: policy says who may have its tokens' values.
            let sent = own.requests().into_iter().flat_map(RequestGuard::replaced);
            for class in classes.iter().chain(given).chain(sent) {
                if !vocabulary.classes.contains(class) {
                    vocabulary.classes.push(class.clone());
                }
            }
            vocabulary
                .function_classes
                .insert(function.id.clone(), classes);
            masks.insert(function.id.clone(), own);
        }
    }
    (faults.len() == before).then_some(masks)
}

//! From settings to a snapshot, or to every fault at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HeaderName;
use wire::http::{Authority, Target};

use super::masks::{Keys, masks, observed_masks};
use super::{Config, ConnectionConfig, Fault, Loaded};
use crate::call::{AtLeast, Catalogue, ConnectionName};
use crate::clock::SharedClock;
use crate::credential::Source;
use crate::egress::Egress;
use crate::export;
use crate::gate::{Limits, ModeConfig, OBSERVE_DAYS_MAX, ObserveStands, ObserveUntil};
use crate::identity::{self, Rejection, Revocations, SlackMember, Verifier};
use crate::pipeline::{Connection, PresentIn, Route, RouteConfig, Snapshot};
use crate::policy::{ConnectionFacts, Policies, RuleTerms, Vocabulary};
use crate::upstream::{Endpoint, Masks, Upstream};

/// Where the gateway's own paths begin; no route may lie there.
const OWN: &str = "/.well-known/callgate";

/// What a snapshot needs beside the settings.
#[derive(Clone, Debug)]
pub struct Context {
    /// The client that fetches keys.
    pub egress: Egress,
    /// The time.
    pub clock: SharedClock,
    /// Who is shut out.
    pub revocations: Revocations,
    /// The gateway's own listeners: never called.
    pub own: Vec<SocketAddr>,
    /// Keys the versions of credentials in records; random per process.
    pub version_key: [u8; 32],
    /// The snapshot in force, whose issuers' keys are kept.
    pub previous: Option<Arc<Snapshot>>,
}

/// The channels that tell people, and the state that they share.
fn told(loaded: &Loaded, context: &Context, faults: &mut Vec<Fault>) {
    let notify = &loaded.config.notify;
    let found = notify.faults(&loaded.base, &context.egress, &context.clock);
    faults.extend(
        found
            .iter()
            .map(|(place, text)| Fault::new(format!("notify.{place}"), text)),
    );
    let store = loaded.config.store.faults(&loaded.base);
    faults.extend(
        store
            .iter()
            .map(|(place, text)| Fault::new(format!("store.{place}"), text)),
    );
}

/// The accounts as whom people answer in chats. Who is revoked is no fault of the settings.
fn answering(config: &Config, identity: &Verifier, context: &Context, faults: &mut Vec<Fault>) {
    for (channel, settings) in &config.notify.channels {
        for (user, person) in settings.people() {
            let at = context.clock.now();
            let member = SlackMember { team: "", user, at };
            match identity.stated(&person.issuer, &person.claims, member) {
                Ok(_) | Err(Rejection::Revoked | Rejection::RevocationsUnknown) => {}
                Err(rejection) => {
                    let place = format!("notify.channels.{channel}.slack.buttons.people.{user}");
                    faults.push(Fault::new(place, rejection.to_string()));
                }
            }
        }
    }
}

/// A broken glass that nobody hears of is an open door.
fn glass(config: &Config, policies: &Policies, faults: &mut Vec<Fault>) {
    if !config.notify.channels.is_empty() {
        return;
    }
    let mut rules = policies.rules().iter();
    let offers = |terms: &RuleTerms| terms.break_glass.is_some();
    if let Some(rule) = rules.find(|rule| rule.terms.as_ref().is_some_and(offers)) {
        let text = format!(
            "policy `{}` ({}) has `@break_glass`, and nobody would be told of it",
            rule.id, rule.place
        );
        let help = "add a channel that reaches those who approve, or remove `@break_glass`";
        faults.push(Fault::new("notify.channels", text).help(help));
    }
}

/// Where the root key is, and how long is kept what is recorded.
fn audit(config: &Config, faults: &mut Vec<Fault>) {
    root_key(config, faults);
    let keep = config.audit.keep.faults().into_iter();
    faults.extend(keep.map(|(field, text)| Fault::new(format!("audit.keep.{field}"), text)));
}

/// Who wraps the root key of recorded content.
fn root_key(config: &Config, faults: &mut Vec<Fault>) {
    if let Some(root) = &config.audit.root_key {
        let found = root.transit.faults().into_iter();
        faults.extend(
            found.map(|(field, text)| Fault::new(format!("audit.root_key.transit.{field}"), text)),
        );
    }
}

/// The policies, where they read and what they ask of the settings is there.
fn policies(loaded: &Loaded, vocabulary: &Vocabulary, faults: &mut Vec<Fault>) -> Option<Policies> {
    match Policies::load(&loaded.policies, vocabulary) {
        Ok(policies) => {
            glass(&loaded.config, &policies, faults);
            Some(policies)
        }
        // Policies that name functions which could not be read would drown the real fault.
        Err(_) if !faults.is_empty() => None,
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| Fault {
                place: fault.place.to_string(),
                text: fault.text,
                help: fault.help,
            }));
            None
        }
    }
}

/// Where records go.
fn exported(loaded: &Loaded, context: &Context, faults: &mut Vec<Fault>) {
    let sinks = export::sinks(&loaded.config.audit.export, &loaded.base, &context.egress);
    let found = sinks.err().unwrap_or_default().into_iter();
    faults.extend(found.map(|(place, text)| Fault::new(format!("audit.export{place}"), text)));
}

/// Make a snapshot.
///
/// # Errors
/// Every [`Fault`] of the settings, the functions and the policies.
pub fn build(loaded: &Loaded, context: &Context) -> Result<Snapshot, Vec<Fault>> {
    let config = &loaded.config;
    let mut faults = Vec::new();
    listeners(config, &mut faults);
    super::console_site::check(config, &loaded.base, &mut faults);
    let approvals = config.approvals.faults();
    faults.extend(
        approvals
            .iter()
            .map(|(field, text)| Fault::new(format!("approvals.{field}"), text)),
    );
    audit(config, &mut faults);
    told(loaded, context, &mut faults);
    exported(loaded, context, &mut faults);
    routes(config, &mut faults);
    if let Err(found) = super::witnesses(loaded, &context.egress) {
        faults.extend(found);
    }
    let identity = verifier(loaded, context, &mut faults);
    if let Some(identity) = &identity {
        answering(config, identity, context, &mut faults);
    }
    let keys = Keys::of(loaded, context, &mut faults);
    let mut vocabulary = vocabulary(config);
    let mut connections = BTreeMap::new();
    for (name, settings) in &config.connections {
        let found = faults.len();
        if let Some(connection) = connection(
            name,
            settings,
            (loaded, &keys),
            context,
            &mut vocabulary,
            &mut faults,
        ) {
            connections.insert(name.clone(), Arc::new(connection));
        } else if faults.len() == found {
            faults.push(Fault::new(
                format!("connections.{name}"),
                "could not be built",
            ));
        }
    }
    let policies = policies(loaded, &vocabulary, &mut faults);
    match (identity, policies) {
        (Some(identity), Some(policies)) if faults.is_empty() => {
            let version = version(loaded, &policies);
            let hosts = hosts(config, &context.own);
            Ok(Snapshot {
                version,
                connections,
                policies,
                identity,
                hosts,
                vault: keys.vault,
                ledger: keys.ledger,
            })
        }
        _ => Err(faults),
    }
}

/// One line per function of a snapshot, for `check`.
pub fn catalogue_report(snapshot: &Snapshot) -> Vec<String> {
    let connections = snapshot.connections.values();
    let functions = connections.flat_map(|connection| connection.catalogue.functions());
    functions
        .map(|function| {
            let summary = function.summary.as_deref().unwrap_or("");
            format!("{}  {}  {summary}", function.id, function.effect.as_str())
        })
        .collect()
}

fn listeners(config: &Config, faults: &mut Vec<Fault>) {
    if config.listen.is_empty() {
        let fault = Fault::new("listen", "no listener");
        faults.push(fault.help("for example `listen: [{ address: 127.0.0.1:8080 }]`"));
    }
    let mut seen = BTreeSet::new();
    let console = config.console.iter().map(|console| console.address);
    for address in config
        .listen
        .iter()
        .map(|listen| listen.address)
        .chain(console)
    {
        if address.port() != 0 && !seen.insert(address) {
            faults.push(Fault::new("listen", format!("`{address}` is used twice")));
        }
    }
    let listeners = config.listen.iter().map(|listen| {
        (
            listen.address,
            listen.tls.is_some() || listen.danger_plaintext,
        )
    });
    let console = config
        .console
        .iter()
        .map(|console| (console.address, console.tls.is_some()));
    for (address, safe) in listeners.chain(console) {
        if !safe && !address.ip().is_loopback() {
            let text = format!("`{address}`: plaintext is for loopback only");
            let fault = Fault::new("listen", text);
            faults.push(fault.help("give `tls`, or set `danger_plaintext: true`"));
        }
    }
}

fn routes(config: &Config, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, &ConnectionName> = BTreeMap::new();
    for (name, connection) in &config.connections {
        let place = format!("connections.{name}.route");
        match route(&connection.route) {
            Ok(route) => {
                let key = match route {
                    Route::Prefix(prefix) => format!("prefix `{prefix}/`"),
                    Route::Host(host) => format!("host `{host}`"),
                };
                if let Some(other) = seen.insert(key.clone(), name) {
                    let text = format!("overlaps with connection `{other}`: both have {key}");
                    faults.push(
                        Fault::new(place, text)
                            .help("give each connection a prefix or host of its own"),
                    );
                }
            }
            Err((text, help)) => faults.push(Fault::new(place, text).help(help)),
        }
    }
}

fn route(config: &RouteConfig) -> Result<Route, (String, &'static str)> {
    match (&config.prefix, &config.host) {
        (Some(prefix), None) => {
            let help = "write a path such as `/payments`, without escapes";
            let target =
                Target::parse(prefix).map_err(|error| (format!("`{prefix}`: {error}"), help))?;
            if target.query().is_some() || target.path() != prefix {
                return Err((format!("`{prefix}` is not a plain path"), help));
            }
            let prefix = prefix.trim_end_matches('/').to_owned();
            if prefix == "/.well-known" || prefix.starts_with(OWN) {
                return Err((
                    format!("`{prefix}` is the gateway's own"),
                    "choose another prefix",
                ));
            }
            Ok(Route::Prefix(prefix))
        }
        (None, Some(host)) => {
            let help = "write a host name such as `payments.example.com`";
            let authority =
                Authority::parse(host).map_err(|error| (format!("`{host}`: {error}"), help))?;
            if authority.port().is_some() {
                return Err((
                    format!("`{host}` has a port"),
                    "leave the port out: the listener decides it",
                ));
            }
            Ok(Route::Host(authority.host().to_owned()))
        }
        (Some(_), Some(_)) => Err(("both `prefix` and `host`".to_owned(), "give one of them")),
        (None, None) => Err((
            "neither `prefix` nor `host`".to_owned(),
            "for example `route: { prefix: /payments }`",
        )),
    }
}

fn verifier(loaded: &Loaded, context: &Context, faults: &mut Vec<Fault>) -> Option<Verifier> {
    let config = &loaded.config;
    let needs = identity::Context {
        console_audience: config
            .console
            .as_ref()
            .and_then(|console| console.audience.as_deref()),
        base: &loaded.base,
        egress: context.egress.clone(),
        clock: Arc::clone(&context.clock),
        revocations: context.revocations.clone(),
    };
    let verifier = match &context.previous {
        Some(previous) => previous.identity.reload(&config.identity, &needs),
        None => Verifier::new(&config.identity, &needs),
    };
    match verifier {
        Ok(verifier) => Some(verifier),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| Fault {
                place: format!("identity.{}", fault.path),
                text: fault.message,
                help: fault.help,
            }));
            None
        }
    }
}

fn vocabulary(config: &Config) -> Vocabulary {
    let issuers = config.identity.issuers.keys().cloned().collect();
    let claims = config
        .identity
        .issuers
        .values()
        .flat_map(|issuer| &issuer.expose);
    let claims = claims.map(|(name, kind)| (name.clone(), *kind)).collect();
    Vocabulary {
        issuers,
        claims,
        ..Vocabulary::default()
    }
}

/// The declared functions: none are needed while a connection only observes.
fn catalogue(
    name: &ConnectionName,
    settings: &ConnectionConfig,
    loaded: &Loaded,
    observe: Option<&ObserveUntil>,
    faults: &mut Vec<Fault>,
) -> Option<Catalogue> {
    let least = match observe {
        Some(_) => AtLeast::None,
        None => AtLeast::One,
    };
    Catalogue::load_with(&settings.functions, name, &loaded.base, least)
        .map_err(|found| {
            faults.extend(found.into_iter().map(|fault| Fault {
                place: fault.place,
                text: fault.what,
                help: Some(fault.hint),
            }));
        })
        .ok()
}

fn connection(
    name: &ConnectionName,
    settings: &ConnectionConfig,
    (loaded, keys): (&Loaded, &Keys),
    context: &Context,
    vocabulary: &mut Vocabulary,
    faults: &mut Vec<Fault>,
) -> Option<Connection> {
    let at = |key: &str| format!("connections.{name}.{key}");
    let observe = observe(settings, context, &at("mode"), faults);
    let catalogue = catalogue(name, settings, loaded, observe.as_ref(), faults);
    let functions = catalogue.as_ref().map_or(&[][..], Catalogue::functions);
    let masked = (name, keys, &context.clock);
    let enforced = masks(masked, functions, settings, vocabulary, faults);
    let observed = match (&observe, &catalogue) {
        (Some(_), Some(catalogue)) => observed_masks((name, keys), catalogue, settings),
        (Some(_) | None, _) => BTreeMap::new(),
    };
    let masks = enforced.map(|enforced| Masks { enforced, observed });
    let endpoint = Endpoint::new(
        &settings.upstream,
        &settings.tls,
        &settings.timeouts,
        settings.http2,
        &loaded.base,
        &context.own,
    )
    .map_err(|error| faults.push(Fault::new(at("upstream"), error)))
    .ok();
    let credential = Source::new(&settings.credential, &loaded.base, &context.version_key)
        .map_err(|error| faults.push(Fault::new(at("credential"), error)))
        .ok();
    let present_header = present_header(&settings.present_in)
        .map_err(|text| {
            let help = "one of authorization, proxy-authorization, basic-password, or a header such as x-api-key";
            faults.push(Fault::new(at("present_in"), text).help(help));
        })
        .ok()?;
    let hold = settings
        .hold(&loaded.config.approvals, &at("hold_s"))
        .map_err(|fault| faults.push(fault))
        .ok()?;
    let route = route(&settings.route).ok()?;
    let (catalogue, masks, endpoint, credential) = (catalogue?, masks?, endpoint?, credential?);
    vocabulary
        .functions
        .extend(catalogue.functions().iter().map(Arc::clone));
    vocabulary.connections.push(ConnectionFacts {
        name: name.clone(),
        labels: settings.labels.clone(),
    });
    let prefix = match &route {
        Route::Prefix(prefix) => prefix.clone(),
        Route::Host(_) => String::new(),
    };
    let origin = endpoint.origin();
    Some(Connection {
        name: name.clone(),
        route,
        catalogue,
        upstream: Upstream::new(endpoint, masks, &prefix, settings.cookies),
        origin,
        credential,
        limits: Limits::new(&settings.limits),
        observe,
        present_in: settings.present_in.clone(),
        present_header,
        hold,
        pending_status: settings
            .pending_status
            .map_or(429, super::PendingStatus::code),
        cookies: settings.cookies,
        assert_caller: settings.assert_caller.clone(),
    })
}

fn present_header(present_in: &PresentIn) -> Result<Option<HeaderName>, String> {
    match present_in {
        PresentIn::Header(header) => {
            let name = header
                .parse()
                .map_err(|_| format!("`{header}` is not a header name"))?;
            Ok(Some(name))
        }
        PresentIn::Authorization | PresentIn::ProxyAuthorization | PresentIn::BasicPassword => {
            Ok(None)
        }
    }
}

/// Until when a connection only observes.
fn observe(
    settings: &ConnectionConfig,
    context: &Context,
    place: &str,
    faults: &mut Vec<Fault>,
) -> Option<ObserveUntil> {
    let ModeConfig::Observe(until) = &settings.mode else {
        return None;
    };
    if until.stands(context.clock.now()) == ObserveStands::TooLong {
        let text = format!(
            "`{}` is more than {OBSERVE_DAYS_MAX} days from now",
            until.day()
        );
        let help = "choose a day by which the functions and policies will be written";
        faults.push(Fault::new(place, text).help(help));
    }
    Some(until.clone())
}

/// Hosts that requests may name: the listeners' own, and the connections'.
fn hosts(config: &Config, own: &[SocketAddr]) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for (index, listen) in config.listen.iter().enumerate() {
        let bound = own.get(index).copied().unwrap_or(listen.address);
        ports.insert(bound.port());
        if listen.hosts.is_empty() {
            hosts.insert(bound.to_string());
            // The port that goes without saying does not stand in `Host`.
            let unsaid = if listen.tls.is_some() { 443 } else { 80 };
            if bound.port() == unsaid {
                hosts.insert(
                    bound
                        .to_string()
                        .trim_end_matches(&format!(":{unsaid}"))
                        .to_owned(),
                );
            }
            if bound.ip().is_loopback() {
                hosts.insert(format!("localhost:{}", bound.port()));
            }
        }
        let named = listen
            .hosts
            .iter()
            .filter_map(|host| Authority::parse(host).ok());
        hosts.extend(named.map(|authority| authority.to_string()));
    }
    for connection in config.connections.values() {
        if let Ok(Route::Host(host)) = route(&connection.route) {
            hosts.extend(ports.iter().map(|port| format!("{host}:{port}")));
            hosts.insert(host);
        }
    }
    hosts.into_iter().collect()
}

fn version(loaded: &Loaded, policies: &Policies) -> String {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    hash.update(loaded.text.as_bytes());
    hash.update(policies.version().as_bytes());
    hash.finish()
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

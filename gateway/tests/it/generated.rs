//! What is published and made from the sources is held against them: the config's JSON Schema and its reference, and
//! the console API's description. `make gen` writes them, this test only compares.

use std::fs;

use callgate::{config, console};
use serde_json::{Map, Value};

use super::support::root;

/// Compare a published file with what it must say, or write it when asked to (`make gen`).
fn publish(name: &str, text: &str) {
    let path = root().join(name);
    if std::env::var_os("CALLGATE_GEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(&path, text).expect("the file");
        return;
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == text,
        "{name} is not what the sources say: run `make gen` and look at the difference"
    );
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON") + "\n"
}

#[test]
fn the_config_schema_is_published() {
    publish("schema/config.schema.json", &pretty(&config::schema()));
}

#[test]
fn the_console_api_is_published() {
    publish("schema/console.openapi.json", &pretty(&console::document()));
}

#[test]
fn the_config_reference_is_published() {
    let schema = config::schema();
    let mut text = String::from(
        "# Configuration reference\n\n\
         Made from the sources by `make gen`; the JSON Schema for editors is `schema/config.schema.json`. One YAML file; \
         unknown\nkeys are errors. Paths are relative to the file's folder. Secrets are references: `env:NAME` or \
         `file:path`.\n",
    );
    section(&mut text, "The file", &schema);
    for (name, definition) in schema["$defs"].as_object().cloned().unwrap_or_default() {
        section(&mut text, &name, &definition);
    }
    publish("docs/config.md", &text);
}

#[test]
fn every_key_of_the_config_is_described() {
    let schema = config::schema();
    let mut faults = Vec::new();
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    for (name, definition) in definitions
        .iter()
        .map(|(name, one)| (name.as_str(), one))
        .chain([("the file", &schema)])
    {
        for (key, property) in definition["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default()
        {
            if property["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
            {
                faults.push(format!("{name}: `{key}` has no description"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A heading, what it is, and its keys or values.
fn section(text: &mut String, name: &str, definition: &Value) {
    text.push_str(&format!("\n## {name}\n\n"));
    let about = line(definition["description"].as_str().unwrap_or_default());
    if !about.is_empty() {
        text.push_str(&format!("{about}\n\n"));
    }
    let required: Vec<&str> = definition["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(properties) = definition["properties"].as_object() {
        text.push_str("| key | type | meaning |\n|---|---|---|\n");
        for (key, property) in properties {
            let must = if required.contains(&key.as_str()) {
                ", required"
            } else {
                ""
            };
            let about = line(property["description"].as_str().unwrap_or_default());
            text.push_str(&format!(
                "| `{key}` | {}{must} | {} |\n",
                kind(property),
                about.replace('|', "\\|")
            ));
        }
    } else if let Some(choices) = definition["oneOf"]
        .as_array()
        .or_else(|| definition["anyOf"].as_array())
    {
        for choice in choices {
            let about = line(choice["description"].as_str().unwrap_or_default());
            let dash = if about.is_empty() { "" } else { ": " };
            text.push_str(&format!("* {}{dash}{about}\n", kind(choice)));
        }
    } else {
        text.push_str(&format!("{}\n", kind(definition)));
    }
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A type in a few words, with links to other sections.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(only) = schema.get("const") {
        return format!(
            "`{}`",
            only.as_str()
                .map_or_else(|| only.to_string(), str::to_owned)
        );
    }
    if let Some(values) = schema["enum"].as_array() {
        let shown: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or("null")))
            .collect();
        return shown.join(", ");
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        if let Some(choices) = schema[several].as_array() {
            let named: Vec<String> = choices
                .iter()
                .filter(|choice| choice["type"] != "null")
                .map(kind)
                .collect();
            return named.join(" or ");
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several
            .iter()
            .filter_map(Value::as_str)
            .filter(|one| *one != "null")
            .collect(),
        _ => return "any".to_owned(),
    };
    match types.as_slice() {
        ["array"] => format!("list of {}", kind(&schema["items"])),
        ["object"] => match &schema["additionalProperties"] {
            Value::Object(values) if *values != Map::new() => {
                format!("map of name to {}", kind(&Value::Object(values.clone())))
            }
            _ => "object".to_owned(),
        },
        several => several.join(" or "),
    }
}

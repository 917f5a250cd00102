//! The JSON Schema of the configuration, written from the same tables that check it.

use serde_json::{Map, Value, json};

use super::members::TOP;
use super::shape::TAG;
use super::syntax::DURATION_PATTERN;
use super::table::{Format, Kind, Row, State, Tagged, Variant, Word};

/// Returns the JSON Schema (draft 2020-12) of the configuration of this version. What it accepts is
/// a superset of what loads: relations between members are checked by the program alone.
#[must_use]
pub fn schema() -> String {
    let mut schema = object(TOP);
    let head = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "countersign configuration"),
    ];
    if let Some(members) = schema.as_object_mut() {
        members.extend(head.map(|(name, text)| (name.to_owned(), json!(text))));
    }
    format!("{schema:#}\n")
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Text(format) => text(format),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number(known) => json!({"enum": known}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": DURATION_PATTERN}),
        Kind::File => json!({"type": "string", "minLength": 1}),
        Kind::Word(words) => json!({"enum": usable_words(words)}),
        Kind::List { of, min } => list(*of, min),
        Kind::OneOrMany(of) => json!({"oneOf": [value(*of), list(*of, 1)]}),
        Kind::Map { of, name, min } => json!({
            "type": "object",
            "minProperties": min,
            "propertyNames": text(name),
            "additionalProperties": value(*of),
        }),
        Kind::Object(rows) => object(rows),
        Kind::Single(rows) => {
            let mut single = object(rows);
            if let Some(members) = single.as_object_mut() {
                members.insert("minProperties".to_owned(), json!(1));
                members.insert("maxProperties".to_owned(), json!(1));
            }
            single
        }
        Kind::Tagged(tagged) => {
            let built = tagged.variants.iter().filter(|v| v.state == State::Built);
            let variants: Vec<_> = built.map(|one| variant(tagged, one)).collect();
            json!({"oneOf": variants})
        }
    }
}

fn text(format: &Format) -> Value {
    match format.pattern {
        "" => json!({"type": "string"}),
        pattern => json!({"type": "string", "pattern": pattern}),
    }
}

fn list(of: Kind, min: usize) -> Value {
    let mut schema = json!({"type": "array", "items": value(of), "minItems": min});
    // The reader counts strings that stand twice as a slip; two objects may be the same on purpose.
    let texts = matches!(of, Kind::Text(_) | Kind::Word(_) | Kind::File);
    if let Some(members) = schema.as_object_mut().filter(|_| texts) {
        members.insert("uniqueItems".to_owned(), json!(true));
    }
    schema
}

fn usable_words(words: &[Word]) -> Vec<&'static str> {
    let built = words.iter().filter(|word| word.state == State::Built);
    built.map(|word| word.text).collect()
}

fn object(rows: &[Row]) -> Value {
    members(&[rows])
}

fn variant(tagged: &Tagged, variant: &Variant) -> Value {
    let mut schema = members(&[tagged.common, variant.rows]);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let tag = json!({"const": variant.name, "description": variant.doc});
        properties.insert(TAG.to_owned(), tag);
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push(json!(TAG));
    }
    schema
}

fn members(rows: &[&[Row]]) -> Value {
    let usable = || {
        let rows = rows.iter().copied().flatten();
        rows.filter(|row| row.state == State::Built)
    };
    let properties: Map<_, _> = usable()
        .map(|row| (row.name.to_owned(), described(row)))
        .collect();
    let required: Vec<_> = usable().filter(|row| row.required).map(|row| row.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn described(row: &Row) -> Value {
    let mut schema = value(row.kind);
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), json!(row.doc));
        let default = row.default.and_then(|json| serde_json::from_str(json).ok());
        members.extend(default.map(|default: Value| ("default".to_owned(), default)));
    }
    schema
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_schema_has_every_usable_member_and_no_other() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], json!(["servers"]));
        let limits = &schema["properties"]["limits"]["properties"];
        assert_eq!(limits["headBytes"]["default"], 16384);
        assert_eq!(limits["headTimeout"]["default"], "10 seconds");
        let server = &schema["properties"]["servers"]["items"];
        assert_eq!(
            server["properties"]["unknownHostStatus"]["enum"],
            json!([421, 403, 404])
        );
        assert_eq!(server["additionalProperties"], false);
        let services = &schema["properties"]["services"]["additionalProperties"]["oneOf"];
        let needed = |kind: &str, name: &str| {
            let mut services = services.as_array().unwrap().iter();
            let service = services
                .find(|service| service["properties"]["type"]["const"] == kind)
                .unwrap();
            let required = service["required"].as_array().unwrap();
            required.contains(&json!(name))
        };
        assert!(
            needed("echo", "accept") && needed("broadcast", "accept") && !needed("broadcast", "mailboxBytes")
        );
        assert!(needed("points", "endpoints") && !needed("points", "accept"));
        assert!(needed("proxy", "accept") && needed("proxy", "connect"));
        let short = &server["properties"]["authentication"]["properties"]["@JWT"]["properties"];
        assert_eq!(short["verification"]["maxProperties"], 1);
        assert_eq!(
            server["properties"]["endpoints"]["propertyNames"]["pattern"],
            "^/([^?#]*[^?#/])$"
        );
        let modules = &schema["properties"]["realms"]["additionalProperties"]["properties"]["loginModules"];
        assert_eq!(modules["items"]["oneOf"].as_array().unwrap().len(), 5);
        assert!(modules.get("uniqueItems").is_none());
        assert_eq!(server["properties"]["hosts"]["uniqueItems"], true);
    }
}

//! Topic Names and Topic Filters (MQTT 5 §4.7, §4.8.2): one table for the tests and the fuzzer.

use engine::reason::ReasonCode;
use engine::topic::{Filter, check_topic_name, matches, parse_filter};

/// A filter, a Topic Name, and whether they match.
pub const MATCHES: &[(&str, &str, bool)] = &[
    ("a/b", "a/b", true),
    ("a/b", "a/B", false),
    ("a", "a/b", false),
    ("a/b", "a", false),
    ("/a", "a", false),
    ("a/", "a", false),
    ("a/", "a/", true),
    ("a/#", "a", true),
    ("a/#", "a/", true),
    ("a/#", "a/b/c", true),
    ("a/#", "ab", false),
    ("#", "a/b/c", true),
    ("#", "/", true),
    ("a/+", "a", false),
    ("a/+", "a/", true),
    ("a/+", "a/b", true),
    ("a/+", "a/b/c", false),
    ("+", "a", true),
    ("+", "/a", false),
    ("+/+", "/a", true),
    ("/+", "/a", true),
    ("a/+/c", "a//c", true),
    ("+/b/#", "a/b", true),
    ("+/+/#", "a", false),
    ("#", "$SYS/x", false),
    ("+/x", "$SYS/x", false),
    ("$SYS/#", "$SYS/x", true),
    ("$SYS/+", "$SYS/x", true),
    ("a/$b/#", "a/$b/c", true),
    ("a/#", "a/$b", true),
    ("+", "$", false),
    ("büro/+", "büro/温度", true),
    ("\u{FEFF}a", "a", false),
    ("u\u{308}", "ü", false),
];

/// Filters that nobody may subscribe to, and the statement.
pub const INVALID_FILTERS: &[(&str, &str)] = &[
    ("", "MQTT-4.7.3-1"),
    ("a/#/b", "MQTT-4.7.1-1"),
    ("#/", "MQTT-4.7.1-1"),
    ("##", "MQTT-4.7.1-1"),
    ("a#", "MQTT-4.7.1-1"),
    ("a/b#", "MQTT-4.7.1-1"),
    ("#a", "MQTT-4.7.1-1"),
    ("a+", "MQTT-4.7.1-2"),
    ("+a/b", "MQTT-4.7.1-2"),
    ("a/++", "MQTT-4.7.1-2"),
    ("a/+#", "MQTT-4.7.1-1"),
    ("$share", "MQTT-4.8.2-1"),
    ("$share/", "MQTT-4.8.2-1"),
    ("$share//a", "MQTT-4.8.2-1"),
    ("$share/g", "MQTT-4.8.2-2"),
    ("$share/g/", "MQTT-4.8.2-2"),
    ("$share/+/a", "MQTT-4.8.2-2"),
    ("$share/g#/a", "MQTT-4.8.2-2"),
    ("$share/g/a#", "MQTT-4.7.1-1"),
];

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3]
/// [MQTT3-4.7.2-1] [MQTT3-4.7.3-4]
#[test]
fn a_filter_matches_what_the_standard_says() {
    for (filter, topic, expected) in MATCHES {
        assert_eq!(matches(filter, topic), *expected, "{filter} and {topic}");
    }
}

#[test]
fn every_filter_of_the_table_is_valid() {
    for (filter, topic, _) in MATCHES {
        let wildcard = filter.contains(['+', '#']);
        assert_eq!(parse_filter(filter), Ok(Filter { share: None, filter, wildcard }));
        assert_eq!(check_topic_name(topic.as_bytes()), Ok(()), "{topic}");
    }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn an_invalid_filter_is_refused_with_its_statement() {
    for (filter, statement) in INVALID_FILTERS {
        let violation = parse_filter(filter).expect_err(filter);

        assert_eq!(violation.reason, ReasonCode::TOPIC_FILTER_INVALID, "{filter}");
        assert_eq!(violation.statement, *statement, "{filter}");
    }
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn a_shared_filter_is_a_name_and_a_filter() {
    let shared = |name, filter, wildcard| Ok(Filter { share: Some(name), filter, wildcard });

    assert_eq!(parse_filter("$share/g/a/+"), shared("g", "a/+", true));
    assert_eq!(parse_filter("$share/g/#"), shared("g", "#", true));
    assert_eq!(parse_filter("$share/g//a"), shared("g", "/a", false));
    assert_eq!(parse_filter("$share/$share/$share/a"), shared("$share", "$share/a", false));
    assert_eq!(parse_filter("$shared/a").unwrap().share, None);
}

/// [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
#[test]
fn a_topic_name_that_cannot_be_is_refused() {
    let long = vec![b'x'; 65_536];
    let invalid: [(&[u8], &str); 5] = [
        (b"", "MQTT-4.7.3-1"),
        (b"a/+", "MQTT-3.3.2-2"),
        (b"a#", "MQTT-3.3.2-2"),
        (b"a\0", "MQTT-4.7.3-2"),
        (&long, "MQTT-4.7.3-3"),
    ];
    for (topic, statement) in invalid {
        let violation = check_topic_name(topic).expect_err(statement);

        assert_eq!(violation.reason, ReasonCode::TOPIC_NAME_INVALID);
        assert_eq!(violation.statement, statement);
    }
}

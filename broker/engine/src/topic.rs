//! Topic Names and Topic Filters: what is valid, and a plain matcher (MQTT 5 §4.7, §4.8.2).

use crate::reason::ReasonCode;
use crate::violation::Violation;

/// The longest Topic Name or Topic Filter, mount point included [MQTT-4.7.3-3].
pub const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// Levels of a filter with wildcards that cost no more than the filter itself.
const LEVELS_FREE: usize = 8;
/// Memory of each further level: a node of the topic tree.
const LEVEL_BYTES: u64 = 64;

/// What a filter takes of the limits of bytes: its length, and its depth where each level is a node
/// of the topic tree.
pub fn filter_weight(filter: &str) -> u64 {
    let length = filter.len() as u64;
    if filter.len() <= LEVELS_FREE || !filter.contains(['+', '#']) {
        return length;
    }
    let levels = filter.bytes().filter(|byte| *byte == b'/').count() + 1;
    length + levels.saturating_sub(LEVELS_FREE) as u64 * LEVEL_BYTES
}

/// A Topic Filter taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter<'a> {
    /// `ShareName`, if it is a shared subscription.
    pub share: Option<&'a str>,
    /// The filter that topics are matched with.
    pub filter: &'a str,
    /// Whether it holds a wildcard.
    pub wildcard: bool,
}

const fn invalid(statement: &'static str, detail: &'static str) -> Violation {
    Violation { reason: ReasonCode::TOPIC_FILTER_INVALID, statement, detail }
}

const NO_SHARE_NAME: Violation = invalid("MQTT-4.8.2-1", "a shared subscription needs a ShareName");

/// Checks a Topic Name: not empty, no wildcard; UTF-8 and NUL were checked by the decoder.
///
/// # Errors
/// It cannot be published to.
pub fn check_topic_name(topic: &[u8]) -> Result<(), Violation> {
    let invalid =
        |statement, detail| Violation { reason: ReasonCode::TOPIC_NAME_INVALID, statement, detail };
    if topic.is_empty() {
        return Err(invalid("MQTT-4.7.3-1", "the Topic Name is empty")); // [MQTT-4.7.3-1]
    }
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(invalid("MQTT-4.7.3-3", "the Topic Name is longer than 65,535 bytes"));
    }
    if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(invalid("MQTT-3.3.2-2", "the Topic Name holds a wildcard"));
    }
    if topic.contains(&0) {
        return Err(invalid("MQTT-4.7.3-2", "the Topic Name holds U+0000"));
    }
    Ok(())
}

/// Takes a Topic Filter apart and checks it.
///
/// # Errors
/// A wildcard stands where none may, or a `$share` filter is not complete.
pub fn parse_filter(filter: &str) -> Result<Filter<'_>, Violation> {
    // No packet brings these, but the host may.
    if filter.len() > TOPIC_BYTES_MAX {
        return Err(invalid("MQTT-4.7.3-3", "the Topic Filter is longer than 65,535 bytes"));
    }
    if filter.contains('\0') {
        return Err(invalid("MQTT-4.7.3-2", "the Topic Filter holds U+0000")); // [MQTT-4.7.3-2]
    }
    let (share, inner) = match filter.strip_prefix("$share/") {
        Some(rest) => {
            let (name, inner) = rest.split_once('/').unwrap_or((rest, ""));
            if name.is_empty() {
                return Err(NO_SHARE_NAME); // [MQTT-4.8.2-1]
            }
            if name.contains(['+', '#']) {
                let detail = "a ShareName holds a wildcard";
                return Err(invalid("MQTT-4.8.2-2", detail)); // [MQTT-4.8.2-2]
            }
            if inner.is_empty() {
                let detail = "a shared subscription needs a Topic Filter behind its ShareName";
                return Err(invalid("MQTT-4.8.2-2", detail)); // [MQTT-4.8.2-2]
            }
            (Some(name), inner)
        }
        None if filter == "$share" => {
            return Err(NO_SHARE_NAME); // [MQTT-4.8.2-1]
        }
        None => (None, filter),
    };
    if inner.is_empty() {
        return Err(invalid("MQTT-4.7.3-1", "the Topic Filter is empty")); // [MQTT-4.7.3-1]
    }
    let mut levels = inner.split('/').peekable();
    let mut wildcard = false;
    while let Some(level) = levels.next() {
        if !level.contains(['+', '#']) {
            continue;
        }
        wildcard = true;
        match level {
            "+" => {}
            "#" if levels.peek().is_none() => {}
            _ if level.contains('#') => {
                let detail = "# is not the last level, or not a level of its own";
                return Err(invalid("MQTT-4.7.1-1", detail)); // [MQTT-4.7.1-1]
            }
            _ => {
                let detail = "+ is not a level of its own";
                return Err(invalid("MQTT-4.7.1-2", detail)); // [MQTT-4.7.1-2]
            }
        }
    }
    Ok(Filter { share, filter: inner, wildcard })
}

/// Whether a Topic Filter (without `$share`) matches a Topic Name: the plain reading of the
/// standard that the router is tested against.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false; // [MQTT-4.7.2-1]
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

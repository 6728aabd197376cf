//! The HTTP request that opens a WebSocket, and its answer. Parsing and the accept key are
//! tungstenite's; who is let in is decided here.

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

use crate::config::WebSocketConfig;

/// A browser's request with cookies fits; more is not a request for MQTT.
pub(crate) const REQUEST_BYTES_MAX: usize = 8_192;

/// What became of a request.
pub(crate) enum Answer {
    /// The request is incomplete.
    Partial,
    /// The WebSocket is open once `response` is sent; `bytes` of the input were the request.
    Open { response: Vec<u8>, bytes: usize },
    /// Send `response` and close; `why` is for the log.
    Refuse { response: Vec<u8>, why: &'static str },
}

/// Reads a request from the beginning of `bytes` and answers it.
pub(crate) fn answer(bytes: &[u8], config: &WebSocketConfig) -> Answer {
    let (request, used) = match Request::try_parse(bytes) {
        Ok(Some((used, request))) => (request, used),
        Ok(None) if bytes.len() < REQUEST_BYTES_MAX => return Answer::Partial,
        Ok(None) => {
            return refuse("431 Request Header Fields Too Large", "the HTTP request is too long");
        }
        Err(_) => return refuse("400 Bad Request", "not a WebSocket request"),
    };
    let path_differs = config.path.as_ref().is_some_and(|path| request.uri().path() != path);
    if path_differs {
        return refuse("404 Not Found", "the path of the WebSocket request is another");
    }
    // A browser sends the page's origin: without this check any page a user visits could speak
    // to a broker that trusts the user's machine.
    let allowed = |origin: &HeaderValue| {
        config.allowed_origins.iter().any(|allowed| {
            allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())
        })
    };
    if !request.headers().get_all(ORIGIN).iter().all(allowed) {
        return refuse("403 Forbidden", "the Origin is not in ws.allowed_origins");
    }
    if request.headers().get_all(HOST).iter().count() != 1 {
        return refuse("400 Bad Request", "not one Host header in the WebSocket request");
    }
    let Ok(mut response) = create_response(&request) else {
        return refuse("400 Bad Request", "not a WebSocket request");
    };
    let Some(protocol) = choose_protocol(&request) else {
        // [MQTT-6.0.0-3] the client MUST include "mqtt" in the list it offers.
        return refuse("400 Bad Request", "the WebSocket request does not offer mqtt");
    };
    // [MQTT-6.0.0-4]
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    let mut bytes = Vec::new();
    if write_response(&mut bytes, &response).is_err() {
        return refuse("400 Bad Request", "not a WebSocket request");
    }
    Answer::Open { response: bytes, bytes: used }
}

/// "mqtt" for 5.0 and 3.1.1, "mqttv3.1" for 3.1, as offered; the first is preferred.
fn choose_protocol(request: &Request) -> Option<&'static str> {
    let offers = |name: &str| {
        request
            .headers()
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|offered| offered.trim() == name)
    };
    ["mqtt", "mqttv3.1"].into_iter().find(|name| offers(name))
}

fn refuse(status: &str, why: &'static str) -> Answer {
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Answer::Refuse { response: response.into_bytes(), why }
}

#[cfg(test)]
mod tests {
    use super::{Answer, REQUEST_BYTES_MAX, answer};
    use crate::config::WebSocketConfig;

    const BASE: &str = "Host: broker\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn ask(path: &str, headers: &str) -> String {
        let config = WebSocketConfig {
            path: Some("/mqtt".into()),
            allowed_origins: vec!["https://here.example".into()],
        };
        let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
        match answer(request.as_bytes(), &config) {
            Answer::Partial => "partial".into(),
            Answer::Open { response, bytes } => {
                assert_eq!(bytes, request.len());
                String::from_utf8(response).unwrap()
            }
            Answer::Refuse { response, .. } => String::from_utf8(response).unwrap(),
        }
    }

    #[test]
    fn the_subprotocol_mqtt_is_chosen_among_those_offered() {
        for (offer, chosen) in [
            ("mqtt", "mqtt"),
            ("mqttv3.1", "mqttv3.1"),
            ("mqttv3.1, mqtt", "mqtt"),
            ("chat,mqtt", "mqtt"),
        ] {
            let headers = format!("{BASE}Sec-WebSocket-Protocol: {offer}\r\n");

            let response = ask("/mqtt?token=x", &headers).to_lowercase();

            assert!(response.starts_with("http/1.1 101 "), "{response}");
            assert!(response.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
            assert!(response.contains(&format!("sec-websocket-protocol: {chosen}\r\n")));
        }
    }

    #[test]
    fn a_request_that_is_not_for_us_is_refused_with_its_status() {
        let mqtt = "Sec-WebSocket-Protocol: mqtt\r\n";
        let cases = [
            ("/other", format!("{BASE}{mqtt}"), "404"),
            ("/mqtt", format!("{BASE}{mqtt}Origin: https://there.example\r\n"), "403"),
            ("/mqtt", format!("{BASE}{mqtt}Origin: null\r\n"), "403"),
            ("/mqtt", BASE.to_owned(), "400"),
            ("/mqtt", format!("{BASE}Sec-WebSocket-Protocol: chat\r\n"), "400"),
            ("/mqtt", format!("Host: broker\r\n{mqtt}"), "400"),
            ("/mqtt", format!("{BASE}{mqtt}").replace("Host: broker\r\n", ""), "400"),
            ("/mqtt", format!("{BASE}{mqtt}").replace("Version: 13", "Version: 8"), "400"),
        ];
        for (path, headers, status) in cases {
            let response = ask(path, &headers);

            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {response}");
        }
    }

    #[test]
    fn an_allowed_origin_is_let_in() {
        let headers =
            format!("{BASE}Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://Here.example\r\n");

        assert!(ask("/mqtt", &headers).starts_with("HTTP/1.1 101 "));
    }

    #[test]
    fn a_request_without_an_end_is_refused_at_the_bound() {
        let config = WebSocketConfig::default();
        let mut request = b"GET / HTTP/1.1\r\nX: ".to_vec();
        assert!(matches!(answer(&request, &config), Answer::Partial));

        request.resize(REQUEST_BYTES_MAX, b'x');

        let Answer::Refuse { response, .. } = answer(&request, &config) else {
            panic!("not refused");
        };
        assert!(response.starts_with(b"HTTP/1.1 431 "));
    }
}

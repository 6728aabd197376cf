//! Reason Codes as the standard numbers them (MQTT 5 §2.4), and the 3.1.1 return codes beside them.

/// What a CONNACK, acknowledgement, DISCONNECT or AUTH says about its cause (MQTT 5 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ReasonCode(pub u8);

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*
        }
    };
}

reasons! {
    /// Success, Normal disconnection, or Granted QoS 0.
    SUCCESS = 0x00;
    /// Granted QoS 1.
    GRANTED_QOS_1 = 0x01;
    /// Granted QoS 2.
    GRANTED_QOS_2 = 0x02;
    /// Disconnect with Will Message.
    DISCONNECT_WITH_WILL = 0x04;
    /// No matching subscribers.
    NO_MATCHING_SUBSCRIBERS = 0x10;
    /// No subscription existed.
    NO_SUBSCRIPTION_EXISTED = 0x11;
    /// Continue authentication.
    CONTINUE_AUTHENTICATION = 0x18;
    /// Re-authenticate.
    REAUTHENTICATE = 0x19;
    /// Unspecified error.
    UNSPECIFIED = 0x80;
    /// Malformed Packet.
    MALFORMED = 0x81;
    /// Protocol Error.
    PROTOCOL_ERROR = 0x82;
    /// Implementation specific error.
    IMPLEMENTATION_SPECIFIC = 0x83;
    /// Unsupported Protocol Version.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84;
    /// Client Identifier not valid.
    CLIENT_IDENTIFIER_NOT_VALID = 0x85;
    /// Bad User Name or Password.
    BAD_USER_NAME_OR_PASSWORD = 0x86;
    /// Not authorized.
    NOT_AUTHORIZED = 0x87;
    /// Server unavailable.
    SERVER_UNAVAILABLE = 0x88;
    /// Server busy.
    SERVER_BUSY = 0x89;
    /// Banned.
    BANNED = 0x8A;
    /// Server shutting down.
    SERVER_SHUTTING_DOWN = 0x8B;
    /// Bad authentication method.
    BAD_AUTHENTICATION_METHOD = 0x8C;
    /// Keep Alive timeout.
    KEEP_ALIVE_TIMEOUT = 0x8D;
    /// Session taken over.
    SESSION_TAKEN_OVER = 0x8E;
    /// Topic Filter invalid.
    TOPIC_FILTER_INVALID = 0x8F;
    /// Topic Name invalid.
    TOPIC_NAME_INVALID = 0x90;
    /// Packet Identifier in use.
    PACKET_IDENTIFIER_IN_USE = 0x91;
    /// Packet Identifier not found.
    PACKET_IDENTIFIER_NOT_FOUND = 0x92;
    /// Receive Maximum exceeded.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93;
    /// Topic Alias invalid.
    TOPIC_ALIAS_INVALID = 0x94;
    /// Packet too large.
    PACKET_TOO_LARGE = 0x95;
    /// Message rate too high.
    MESSAGE_RATE_TOO_HIGH = 0x96;
    /// Quota exceeded.
    QUOTA_EXCEEDED = 0x97;
    /// Administrative action.
    ADMINISTRATIVE_ACTION = 0x98;
    /// Payload format invalid.
    PAYLOAD_FORMAT_INVALID = 0x99;
    /// Retain not supported.
    RETAIN_NOT_SUPPORTED = 0x9A;
    /// QoS not supported.
    QOS_NOT_SUPPORTED = 0x9B;
    /// Use another server.
    USE_ANOTHER_SERVER = 0x9C;
    /// Server moved.
    SERVER_MOVED = 0x9D;
    /// Shared Subscriptions not supported.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E;
    /// Connection rate exceeded.
    CONNECTION_RATE_EXCEEDED = 0x9F;
    /// Maximum connect time.
    MAXIMUM_CONNECT_TIME = 0xA0;
    /// Subscription Identifiers not supported.
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1;
    /// Wildcard Subscriptions not supported.
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2;
}

impl ReasonCode {
    /// Whether the operation failed: 0x80 and above (MQTT 5 §2.4).
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The CONNACK return code of 3.1 and 3.1.1 for this reason; `None` where no code fits and the
    /// connection is closed without a CONNACK [MQTT3-3.2.2-6].
    pub const fn connack_return_code(self) -> Option<u8> {
        match self {
            Self::SUCCESS => Some(0),
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            Self::BAD_USER_NAME_OR_PASSWORD | Self::BAD_AUTHENTICATION_METHOD => Some(4),
            Self::NOT_AUTHORIZED | Self::BANNED => Some(5),
            // The packet does not conform [MQTT3-3.1.4-1], or its will cannot be taken.
            Self::MALFORMED
            | Self::PROTOCOL_ERROR
            | Self::PACKET_TOO_LARGE
            | Self::TOPIC_NAME_INVALID
            | Self::RETAIN_NOT_SUPPORTED
            | Self::QOS_NOT_SUPPORTED => None,
            _ => Some(3),
        }
    }
}

//! Common messages: the setup of a connection, and what concerns it as a whole (seed 003 §3.7; current 03 §3.6).

use super::ErrorCode;
use crate::wire::Str0255;

message! {
    /// Opens the conversation: always the first message of a client (D-CONN-1).
    common, client to server: SetupConnection<'a> "SetupConnection"
        draft(0x00) current(0x00)
    {
        /// The sub-protocol that this connection speaks ([`Protocol::NUMBER`](crate::protocol::Protocol::NUMBER)).
        protocol: u8,
        /// Lowest version that the client speaks; 2 (D-CONN-3).
        min_version: u16,
        /// Highest version that the client speaks; 2 (D-CONN-3).
        max_version: u16,
        /// What the client requires; its meaning depends on the protocol
        /// ([`mining::SetupFlags`](super::mining::SetupFlags)).
        flags: u32,
        /// Host name or address that the client connected to, ASCII.
        endpoint_host: Str0255<'a>,
        /// Port that the client connected to.
        endpoint_port: u16,
        /// Maker of the device; must not be empty (D-CONN-5).
        vendor: Str0255<'a>,
        /// Hardware version or software package; should not be empty (D-CONN-6).
        hardware_version: Str0255<'a>,
        /// Firmware on the device.
        firmware: Str0255<'a>,
        /// Identifier that the vendor keeps unique; empty without telemetry (D-CONN-6).
        device_id: Str0255<'a>,
    }
}

message! {
    /// Accepts the connection.
    common, server to client: SetupConnectionSuccess "SetupConnection.Success"
        draft(0x01) current(0x01)
    {
        /// The version that holds for the whole connection, one of those offered (D-CONN-4).
        used_version: u16,
        /// What the server requires; its meaning depends on the protocol
        /// ([`mining::SuccessFlags`](super::mining::SuccessFlags)).
        flags: u32,
    }
}

message! {
    /// Refuses the connection; the server closes it afterwards (D-CONN-8).
    common, server to client: SetupConnectionError<'a> "SetupConnection.Error"
        draft(0x02) current(0x02)
    {
        /// Every requested flag that the server does not support; 0 when flags are not the cause (D-CONN-9).
        flags: u32,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// `flags` lists what is not supported.
        UNSUPPORTED_FEATURE_FLAGS = "unsupported-feature-flags",
        /// The server does not speak the protocol asked for.
        UNSUPPORTED_PROTOCOL = "unsupported-protocol",
        /// No version that both speak.
        PROTOCOL_VERSION_MISMATCH = "protocol-version-mismatch",
        /// A job declarator that wants transaction data was asked without the flag (current revision).
        MISSING_DECLARE_TX_DATA_FLAG = "missing-declare-tx-data-flag",
    }
}

message! {
    /// An endpoint of a channel has changed behind the peer: state of extensions on it is void (D-EXT-8, D-EXT-9).
    common, server to client: ChannelEndpointChanged "ChannelEndpointChanged"
        draft(0x03 + channel_msg) current(0x03 + channel_msg)
    {
        /// The channel.
        channel_id: u32,
    }
}

message! {
    /// Sends the client elsewhere, under the same authority key (D-RECON-1, D-RECON-2).
    common, server to client: Reconnect<'a> "Reconnect"
        draft(0x25 in mining) current(0x04)
    {
        /// Host to connect to; empty: the same as now.
        new_host: Str0255<'a>,
        /// Port to connect to; 0: the same as now.
        new_port: u16,
    }
}

message_set! {
    /// Common messages that a client sends.
    pub enum ToServer<'a> {
        SetupConnection(SetupConnection<'a>),
    }
}

message_set! {
    /// Common messages that a server sends.
    pub enum ToClient<'a> {
        SetupConnectionSuccess(SetupConnectionSuccess),
        SetupConnectionError(SetupConnectionError<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
        Reconnect(Reconnect<'a>),
    }
}

//! The macros in which messages, sets of messages and flags are declared. They hold no facts about any message.

/// Declares a message. Reads as the specification's table does:
///
/// ```text
/// message! {
///     /// What it is for.
///     mining, client to server: SubmitSharesStandard "SubmitSharesStandard"
///         draft(0x1a + channel_msg) current(0x1a + channel_msg)
///     {
///         /// Meaning, unit.
///         channel_id: u32,
///     }
///     errors { /// When. STALE_SHARE = "stale-share", }    // only where there is an error code
/// }
/// ```
///
/// A row may name its own family (`in mining`) or its own name (`as "…"`) where the revisions differ; `numbered by field` names the
/// field that picks one of several rows. A struct that borrows says so: `CloseChannel<'a>`.
macro_rules! message {
    (
        $(#[$meta:meta])*
        $family:ident, $from:ident to $to:ident: $name:ident<$lt:lifetime> $wire:literal
        $($rest:tt)*
    ) => {
        message!(@declare [$lt] [<$lt>] [<'_>] [$(#[$meta])*] $family, $from to $to: $name $wire $($rest)*);
    };
    (
        $(#[$meta:meta])*
        $family:ident, $from:ident to $to:ident: $name:ident $wire:literal
        $($rest:tt)*
    ) => {
        message!(@declare ['payload] [] [] [$(#[$meta])*] $family, $from to $to: $name $wire $($rest)*);
    };

    (@declare [$lt:lifetime] [$($generics:tt)*] [$($elided:tt)*] [$($meta:tt)*]
        $family:ident, $from:ident to $to:ident: $name:ident $wire:literal
        draft($($draft:tt)*) current($($current:tt)*) $(numbered by $number:ident)?
        {
            $( $(#[$fmeta:meta])* $field:ident $(as $fwire:literal)?: $fty:ty, )*
        }
        $($errors:tt)*
    ) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name $($generics)* {
            $( $(#[$fmeta])* pub $field: $fty, )*
        }

        impl $($generics)* $crate::message::Message for $name $($generics)* {
            const SPEC: &'static $crate::message::Spec = &$crate::message::Spec {
                name: $wire,
                direction: message!(@direction $from $to),
                draft: message!(@entries $family $wire; []; $($draft)*),
                current: message!(@entries $family $wire; []; $($current)*),
                fields: &[$( $crate::message::FieldInfo::new::<$fty>(message!(@field $field $($fwire)?)), )*],
                error_codes: message!(@codes $($errors)*),
            };

            $(
                #[inline]
                fn variant(&self) -> usize {
                    self.$number.variant()
                }

                #[inline]
                fn set_variant(&mut self, variant: usize) {
                    self.$number = $crate::message::ChannelKind::from_variant(variant);
                }
            )?
        }

        impl $crate::wire::Encode for $name $($elided)* {
            #[inline]
            fn encoded_len(&self, revision: $crate::wire::Revision) -> usize {
                0_usize $( .saturating_add($crate::wire::Encode::encoded_len(&self.$field, revision)) )*
            }

            #[inline]
            fn encode(
                &self,
                writer: &mut $crate::wire::Writer<'_>,
                revision: $crate::wire::Revision,
            ) -> Result<(), $crate::wire::EncodeError> {
                // One check of the room for the whole payload; the checks of the single fields fold into it.
                let mut run = writer.split(self.encoded_len(revision))?;
                // All failures end in one place, which knows the field by its number.
                let mut field = 0_u8;
                let error = 'fields: {
                    $(
                        if let Err(error) = $crate::wire::Encode::encode(&self.$field, &mut run, revision) {
                            break 'fields error;
                        }
                        field += 1;
                    )*
                    let _ = field;
                    return Ok(());
                };
                Err(error.in_field(field))
            }
        }

        impl<$lt> $crate::wire::Decode<$lt> for $name $($generics)* {
            // Firmware: straight into the place of the value, without a detour over the registers of whoever reads all kinds of messages.
            #[cfg_attr(target_os = "none", inline(never))]
            #[cfg_attr(not(target_os = "none"), inline)]
            fn read(reader: &mut $crate::wire::Reader<$lt>, revision: $crate::wire::Revision) -> Self {
                Self { $( $field: reader.read_field(revision), )* }
            }
        }

        message!(@sent_by $from [$name $($elided)*]);
        message!(@in $family [$name $($elided)*]);

        message!(@errors [$name $($elided)*] $($errors)*);
    };

    (@codes) => { &[] };
    (@codes errors { $( $(#[$meta:meta])* $code:ident = $value:literal, )* }) => { &[$($value,)*] };

    (@errors [$($ty:tt)*]) => {};
    (@errors [$($ty:tt)*] errors { $( $(#[$meta:meta])* $code:ident = $value:literal, )* }) => {
        /// Its error codes.
        impl $($ty)* {
            $( $(#[$meta])* pub const $code: &'static str = $value; )*
        }
    };

    (@field $field:ident) => { stringify!($field) };
    (@field $field:ident $wire:literal) => { $wire };

    (@direction client server) => { $crate::message::Direction::ToServer };
    (@direction server client) => { $crate::message::Direction::ToClient };
    (@direction either other) => { $crate::message::Direction::Both };

    (@sent_by client [$($ty:tt)*]) => { impl $crate::protocol::SentBy<$crate::protocol::Initiator> for $($ty)* {} };
    (@sent_by server [$($ty:tt)*]) => { impl $crate::protocol::SentBy<$crate::protocol::Responder> for $($ty)* {} };
    (@sent_by either [$($ty:tt)*]) => {
        message!(@sent_by client [$($ty)*]);
        message!(@sent_by server [$($ty)*]);
    };

    (@in common [$($ty:tt)*]) => { impl<Pr: $crate::protocol::Protocol> $crate::protocol::In<Pr> for $($ty)* {} };
    (@in mining [$($ty:tt)*]) => { impl<Pr: $crate::protocol::MiningProtocol> $crate::protocol::In<Pr> for $($ty)* {} };
    (@in template [$($ty:tt)*]) => { impl $crate::protocol::In<$crate::protocol::TemplateDistribution> for $($ty)* {} };

    (@family common) => { $crate::message::Family::Common };
    (@family mining) => { $crate::message::Family::Mining };
    (@family template) => { $crate::message::Family::TemplateDistribution };

    // Rows are taken off one by one: number, channel bit, then what differs from the declaration's head.
    (@entries $family:ident $wire:literal; [$($done:expr,)*];) => { &[$($done,)*] };
    (@entries $family:ident $wire:literal; [$($done:expr,)*]; $number:literal $(, $($rest:tt)*)?) => {
        message!(@entries $family $wire; [$($done,)* message!(@entry $family $wire $number false),]; $($($rest)*)?)
    };
    (@entries $family:ident $wire:literal; [$($done:expr,)*]; $number:literal + channel_msg $(, $($rest:tt)*)?) => {
        message!(@entries $family $wire; [$($done,)* message!(@entry $family $wire $number true),]; $($($rest)*)?)
    };
    (@entries $family:ident $wire:literal; [$($done:expr,)*]; $number:literal as $name:literal $(, $($rest:tt)*)?) => {
        message!(@entries $family $wire; [$($done,)* message!(@entry $family $name $number false),]; $($($rest)*)?)
    };
    (@entries $family:ident $wire:literal; [$($done:expr,)*]; $number:literal in $other:ident $(, $($rest:tt)*)?) => {
        message!(@entries $family $wire; [$($done,)* message!(@entry $other $wire $number false),]; $($($rest)*)?)
    };
    (@entry $family:ident $wire:literal $number:literal $channel_msg:literal) => {
        $crate::message::Entry {
            name: $wire,
            family: message!(@family $family),
            msg_type: $number,
            channel_msg: $channel_msg,
        }
    };
}

/// Declares the enum of the messages that travel in one direction of one protocol. Frequent ones first: they are found first.
macro_rules! message_set {
    ($(#[$meta:meta])* pub enum $set:ident<$lt:lifetime> { $( $variant:ident($ty:ty), )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "values live on the stack for one call and borrow all that is long")]
        pub enum $set<$lt> {
            $(
                #[doc = concat!("See [`", stringify!($variant), "`].")]
                $variant($ty),
            )*
        }

        impl<$lt> $crate::message::MessageSet<$lt> for $set<$lt> {
            const SPECS: &'static [&'static $crate::message::Spec] =
                &[$( <$ty as $crate::message::Message>::SPEC, )*];

            const ROWS: $crate::message::Rows = {
                use $crate::message::numbers::{count, rows};
                use $crate::wire::Revision::{Current, Draft};
                const SPECS: &[&$crate::message::Spec] = <$set<'static> as $crate::message::MessageSet<'static>>::SPECS;
                $crate::message::Rows {
                    draft: const { &rows::<{ count(SPECS, Draft) }>(SPECS, Draft) },
                    current: const { &rows::<{ count(SPECS, Current) }>(SPECS, Current) },
                }
            };

            #[inline]
            fn decode_row(
                row: $crate::message::Row,
                payload: &$lt [u8],
                revision: $crate::wire::Revision,
            ) -> Result<Self, $crate::wire::DecodeError> {
                // What is most frequent is read where it is wanted, within nanoseconds; of the rest there is one copy. Firmware has one of all.
                if !cfg!(target_os = "none") && row.at == 0 {
                    return message_set!(@first row, payload, revision; $( $variant($ty), )*);
                }
                Self::decode_any(row, payload, revision)
            }

            fn entry(&self, revision: $crate::wire::Revision) -> Option<&'static $crate::message::Entry> {
                match self {
                    $( Self::$variant(message) => $crate::message::Message::entry(message, revision), )*
                }
            }
        }

        impl<$lt> $set<$lt> {
            #[cfg_attr(not(target_os = "none"), inline(never))]
            fn decode_any(
                row: $crate::message::Row,
                payload: &$lt [u8],
                revision: $crate::wire::Revision,
            ) -> Result<Self, $crate::wire::DecodeError> {
                let mut reader = $crate::wire::Reader::new(payload);
                let message = Self::read_any(row, &mut reader, revision);
                $crate::message::finish(&mut reader, row.number.msg_type, revision).map(|()| message)
            }

            // A call of its own, so that each message is read straight into the place of the value.
            #[cfg_attr(target_os = "none", inline(never))]
            fn read_any(
                row: $crate::message::Row,
                reader: &mut $crate::wire::Reader<$lt>,
                revision: $crate::wire::Revision,
            ) -> Self {
                message_set!(@arms row, reader, revision, $lt; $( $variant($ty), )*)
            }
        }

        impl $crate::wire::Encode for $set<'_> {
            fn encoded_len(&self, revision: $crate::wire::Revision) -> usize {
                match self {
                    $( Self::$variant(message) => message.encoded_len(revision), )*
                }
            }

            fn encode(
                &self,
                writer: &mut $crate::wire::Writer<'_>,
                revision: $crate::wire::Revision,
            ) -> Result<(), $crate::wire::EncodeError> {
                match self {
                    $( Self::$variant(message) => message.encode(writer, revision), )*
                }
            }
        }
    };

    (@arms $row:ident, $reader:ident, $revision:ident, $lt:lifetime; $first:ident($fty:ty), $( $variant:ident($ty:ty), )*) => {{
        enum At { $first, $($variant,)* }
        match $row.at {
            $(
                at if at == At::$variant as u8 => {
                    let mut message = <$ty as $crate::wire::Decode<$lt>>::read($reader, $revision);
                    $crate::message::Message::set_variant(&mut message, usize::from($row.variant));
                    Self::$variant(message)
                }
            )*
            at => {
                if at != At::$first as u8 {
                    // Of another set.
                    $reader.fail($crate::wire::DecodeErrorKind::UnknownMessage($row.number.msg_type), 0);
                }
                let mut message = <$fty as $crate::wire::Decode<$lt>>::read($reader, $revision);
                $crate::message::Message::set_variant(&mut message, usize::from($row.variant));
                Self::$first(message)
            }
        }
    }};

    (@first $row:ident, $payload:ident, $revision:ident; $first:ident($ty:ty), $($rest:tt)*) => {
        $crate::message::decode_as::<$ty>($row.number.msg_type, usize::from($row.variant), $payload, $revision)
            .map(Self::$first)
    };
}

/// Declares a set of flags over a `U32`. Bit 0 is the least significant one (draft open question 7).
macro_rules! flags {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$fmeta:meta])* $flag:ident = $bit:literal, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            $( $(#[$fmeta])* pub const $flag: Self = Self(1 << $bit); )*

            /// No flag.
            pub const NONE: Self = Self(0);
            /// Every flag that the specification names.
            pub const ALL: Self = Self(0 $(| 1 << $bit)*);
            /// Name and bit of every flag, as in the specification.
            pub const NAMES: &'static [(&'static str, u32)] = &[$( (stringify!($flag), $bit), )*];

            /// The flags as they are on the wire; unknown bits are kept.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The number on the wire.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all flags of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Flags of either.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Bits that the specification does not name.
            #[must_use]
            pub const fn unknown(self) -> u32 {
                self.0 & !Self::ALL.0
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl From<u32> for $name {
            fn from(bits: u32) -> Self {
                Self(bits)
            }
        }

        impl From<$name> for u32 {
            fn from(flags: $name) -> Self {
                flags.0
            }
        }
    };
}

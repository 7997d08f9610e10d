//! The catalogue as data: what the declarations of the messages say, for tests, tools and logs.

use core::fmt;

use super::{FieldType, MessageSet, Number, common, mining, template};
use crate::frame::Header;
use crate::wire::{Layout, Revision};

/// The part of the specification that a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Part of every protocol.
    Common,
    /// The mining protocol.
    Mining,
    /// The template distribution protocol.
    TemplateDistribution,
}

impl Family {
    /// The name that the specification's catalogue uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::Mining => "mining",
            Self::TemplateDistribution => "template_distribution",
        }
    }
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client.
    ToServer,
    /// The server.
    ToClient,
    /// Either.
    Both,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "client->server",
            Self::ToClient => "server->client",
            Self::Both => "both",
        })
    }
}

/// A message's row in the type table of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as in the specification, `SubmitShares.Success` for one.
    pub name: &'static str,
    /// Which part of the specification it belongs to.
    pub family: Family,
    /// Number in the frame header.
    pub msg_type: u8,
    /// The channel bit in the frame header (D-FRAME-7, C-FRAME-9).
    pub channel_msg: bool,
}

impl Entry {
    /// Without the name.
    #[must_use]
    pub const fn number(&self) -> Number {
        Number { msg_type: self.msg_type, channel_msg: self.channel_msg }
    }
}

/// Everything that the declaration of a message says, for both revisions.
#[derive(Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name as a whole, where the rows of the type tables have several.
    pub name: &'static str,
    /// Who sends it.
    pub direction: Direction,
    /// Rows of the draft's type table: none, one, or (for the open error) two.
    pub draft: &'static [Entry],
    /// Rows of the current revision's type table.
    pub current: &'static [Entry],
    /// Fields in their order on the wire.
    pub fields: &'static [FieldInfo],
    /// Values that its error code is known to take. `invalid-job-param-value-` is continued by a field's name.
    pub error_codes: &'static [&'static str],
}

impl Spec {
    /// Rows of the type table of `revision`.
    #[must_use]
    #[inline]
    pub const fn entries(&self, revision: Revision) -> &'static [Entry] {
        match revision {
            Revision::Draft => self.draft,
            Revision::Current => self.current,
        }
    }
}

/// What a field of a struct is in one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name, where the specification's is not that of the struct's field.
    pub name: Option<&'static str>,
    /// The data type.
    pub layout: Layout,
}

/// A field of a message's struct, and what it is in each revision; `None` where it is not on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    name: &'static str,
    draft: Option<Slot>,
    current: Option<Slot>,
}

impl FieldInfo {
    /// The field `name` of type `T`.
    #[must_use]
    pub const fn new<T: FieldType>(name: &'static str) -> Self {
        Self { name, draft: T::DRAFT, current: T::CURRENT }
    }

    /// The field as `revision` knows it.
    #[must_use]
    pub const fn get(&self, revision: Revision) -> Option<Field> {
        let slot = match revision {
            Revision::Draft => self.draft,
            Revision::Current => self.current,
        };
        match slot {
            Some(Slot { name: Some(name), layout }) => Some(Field { name, layout }),
            Some(Slot { name: None, layout }) => Some(Field { name: self.name, layout }),
            None => None,
        }
    }

    /// Name in `revision`, or the struct's own where the revision lacks the field.
    #[must_use]
    pub const fn name(&self, revision: Revision) -> &'static str {
        match self.get(revision) {
            Some(field) => field.name,
            None => self.name,
        }
    }
}

/// A field as one revision's table prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name as in the specification.
    pub name: &'static str,
    /// Data type.
    pub layout: Layout,
}

/// A message of one revision's catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    spec: &'static Spec,
    entry: &'static Entry,
    revision: Revision,
}

impl MessageInfo {
    /// The declaration that this row is of.
    #[must_use]
    pub const fn spec(&self) -> &'static Spec {
        self.spec
    }

    /// Name as in the specification.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Which part of the specification it belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.entry.family
    }

    /// Number in the frame header.
    #[must_use]
    pub const fn msg_type(&self) -> u8 {
        self.entry.msg_type
    }

    /// The channel bit in the frame header.
    #[must_use]
    pub const fn channel_msg(&self) -> bool {
        self.entry.channel_msg
    }

    /// Who sends it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.spec.direction
    }

    /// Values that its error code is known to take, in either revision.
    #[must_use]
    pub const fn error_codes(&self) -> &'static [&'static str] {
        self.spec.error_codes
    }

    /// Its fields in the order on the wire.
    pub fn fields(&self) -> impl Iterator<Item = Field> + use<> {
        let revision = self.revision;
        self.spec.fields.iter().filter_map(move |field| field.get(revision))
    }

    /// Bytes of the smallest payload.
    #[must_use]
    pub fn min_payload(&self) -> usize {
        let sum: u64 = self.fields().map(|field| field.layout.min_len()).sum();
        sum as usize
    }

    /// Bytes of the largest payload that a frame can carry, without what extensions append.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        let sum = self.fields().fold(0_u64, |sum, field| sum.saturating_add(field.layout.max_len()));
        sum.min(Header::MAX_PAYLOAD as u64) as usize
    }
}

/// All messages of `revision`, from the same declarations that the structs come from.
pub fn catalogue(revision: Revision) -> impl Iterator<Item = MessageInfo> {
    let to_server = [common::ToServer::SPECS, mining::ToServer::SPECS, template::ToServer::SPECS];
    let to_client = [common::ToClient::SPECS, mining::ToClient::SPECS, template::ToClient::SPECS];
    // A message that both sides send is in both sets; it counts once.
    let once = to_client.into_iter().flatten().filter(|spec| spec.direction == Direction::ToClient);
    to_server
        .into_iter()
        .flatten()
        .chain(once)
        .flat_map(move |spec| spec.entries(revision).iter().map(move |entry| MessageInfo { spec, entry, revision }))
}

//! [`Request`]: one operation on a backend, as the decorators see it.

/// The kinds of operations on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// [`Backend::create`](crate::Backend::create).
    Create,
    /// One write to an [`ObjectWriter`](crate::ObjectWriter).
    Write,
    /// [`ObjectWriter::finish`](crate::ObjectWriter::finish).
    Finish,
    /// [`Backend::put`](crate::Backend::put).
    Put,
    /// [`Backend::get`](crate::Backend::get).
    Get,
    /// [`Backend::read_into`](crate::Backend::read_into).
    ReadInto,
    /// [`Backend::get_tail`](crate::Backend::get_tail).
    GetTail,
    /// [`Backend::size`](crate::Backend::size).
    Size,
    /// [`Backend::list`](crate::Backend::list).
    List,
    /// [`Backend::list_foreign`](crate::Backend::list_foreign).
    ListForeign,
    /// [`Backend::delete`](crate::Backend::delete).
    Delete,
    /// [`Backend::retain`](crate::Backend::retain).
    Retain,
    /// [`Backend::retained`](crate::Backend::retained).
    Retained,
}

impl Kind {
    /// All kinds, each once, in the order of their declaration.
    pub const ALL: [Kind; 13] = [
        Kind::Create,
        Kind::Write,
        Kind::Finish,
        Kind::Put,
        Kind::Get,
        Kind::ReadInto,
        Kind::GetTail,
        Kind::Size,
        Kind::List,
        Kind::ListForeign,
        Kind::Delete,
        Kind::Retain,
        Kind::Retained,
    ];

    /// Whether it can change which objects are stored: `Create`, `Write`, `Finish`, `Put`, `Delete`.
    pub fn is_change(self) -> bool {
        matches!(self, Kind::Create | Kind::Write | Kind::Finish | Kind::Put | Kind::Delete)
    }

    /// The operation as a verb, for messages.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Write => "write",
            Kind::Finish => "finish",
            Kind::Put => "put",
            Kind::Get | Kind::ReadInto => "read",
            Kind::GetTail => "read the end of",
            Kind::Size => "examine",
            Kind::List | Kind::ListForeign => "list",
            Kind::Delete => "delete",
            Kind::Retain => "lock",
            Kind::Retained => "look at the lock of",
        }
    }
}

/// One operation that a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked for.
    pub kind: Kind,
    /// The object's name; the prefix of a [`Kind::List`] or [`Kind::ListForeign`].
    pub name: &'a str,
    /// Where a [`Kind::ReadInto`] begins, in bytes from the object's start; 0 for the others.
    pub offset: u64,
    /// The bytes that the caller hands over, or the most that it asks for (`limit` of a get); 0 where there are none.
    pub bytes: u64,
}

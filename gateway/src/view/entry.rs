//! One entry in memory: its archive, validated once, then read in place.
//!
//! The only place of the gateway where archives are read without validation, and the reason why that is sound:
//! an [`Entry`] cannot be made but by [`Entry::parse`], which validates, and its bytes never change.

use std::{fmt, marker::PhantomData, ops::Deref};

use rkyv::{
    Portable, api::high::HighValidator, bytecheck::CheckBytes, rancor::Failure, util::AlignedVec,
};

/// An archived `A` and the position of the thing's last event.
pub(super) struct Entry<A> {
    position: u64,
    bytes: AlignedVec,
    archive: PhantomData<fn() -> A>,
}

/// A payload that is not the archive that its subject promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not an archive of its kind")]
pub(super) struct InvalidArchive;

impl<A: Portable> Entry<A> {
    /// Copies `payload` into aligned memory and validates it, once.
    ///
    /// # Errors
    /// When the bytes are not an archive of an `A`.
    pub(super) fn parse(position: u64, payload: &[u8]) -> Result<Self, InvalidArchive>
    where
        A: for<'a> CheckBytes<HighValidator<'a, Failure>>,
    {
        let mut bytes = AlignedVec::with_capacity(payload.len());
        bytes.extend_from_slice(payload);
        rkyv::access::<A, Failure>(&bytes).map_err(|_| InvalidArchive)?;
        Ok(Self {
            position,
            bytes,
            archive: PhantomData,
        })
    }

    /// The position of the thing's last event.
    #[must_use]
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// The archive as it was published.
    #[must_use]
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes
    }
}

impl<A: Portable> Deref for Entry<A> {
    type Target = A;

    #[expect(
        unsafe_code,
        reason = "validating an archive on each access would cost more than the whole request"
    )]
    fn deref(&self) -> &A {
        // SAFETY: `parse`, the only constructor, validated these very bytes as an `A`; they lie in memory that
        // belongs to this value, aligned to 16 bytes, and nothing changes them.
        unsafe { rkyv::access_unchecked::<A>(&self.bytes) }
    }
}

impl<A> fmt::Debug for Entry<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Entry(position {}, {} bytes)",
            self.position,
            self.bytes.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use events_schema::snapshot::entries::{
        ArchivedKeyEntry, ArchivedUserEntry, Entry as Source, UserEntry,
    };

    use super::*;

    #[test]
    fn an_archive_is_read_as_it_was_written_from_any_alignment() {
        let archive = Source::User(UserEntry {
            id: [7; 16],
            disabled: true,
        })
        .archive();
        for shift in 0..16 {
            let mut unaligned = vec![0; shift];
            unaligned.extend_from_slice(&archive);
            let entry =
                Entry::<ArchivedUserEntry>::parse(3, &unaligned[shift..]).expect("a good archive");
            assert_eq!(
                (entry.id, entry.disabled, entry.position()),
                ([7; 16], true, 3)
            );
            assert_eq!(entry.payload(), archive.as_slice());
        }
    }

    #[test]
    fn bytes_that_are_no_archive_of_the_kind_are_refused() {
        let archive = Source::User(UserEntry {
            id: [7; 16],
            disabled: true,
        })
        .archive();
        assert_eq!(
            Entry::<ArchivedKeyEntry>::parse(1, &archive).err(),
            Some(InvalidArchive)
        );
        assert_eq!(
            Entry::<ArchivedUserEntry>::parse(1, &[]).err(),
            Some(InvalidArchive)
        );
        let mut changed = archive.to_vec();
        changed[16] = 2; // the flag: neither true nor false
        assert_eq!(
            Entry::<ArchivedUserEntry>::parse(1, &changed).err(),
            Some(InvalidArchive)
        );
    }
}

//! A provider's answer on the wire: however it comes in pieces, it is understood in the same way, and as a second reader
//! understands it; where two readers could differ, it is refused.

use bytes::BytesMut;
use gateway::upstream::wire::{Framing, Malformed, take_head};

use crate::{
    pieces,
    reference::{Body, Length, body, response},
};

/// What was understood of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// Nothing yet.
    Nothing,
    /// Status and body, and whether the body is whole.
    Answer {
        status: u16,
        body: Vec<u8>,
        whole: bool,
    },
    /// It was refused, after so much of a body.
    Refused(Malformed, Vec<u8>),
}

/// The first byte chooses the pieces; the rest is what the provider sends before it closes the connection.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let [seed, text @ ..] = data else {
        return;
    };
    let at_once = read([text].into_iter());
    let in_pieces = read(pieces(text, *seed));
    assert_eq!(at_once, in_pieces);
    if let Read::Answer {
        status,
        body: read,
        whole,
    } = at_once
    {
        let head = response(text).expect("a second reader finds a head as well");
        assert_eq!(head.status, status);
        let rest = &text[head.ends_at..];
        match (head.length, body(rest, head.length)) {
            // Up to the end of the connection.
            (Length::UntilClose, _) => assert_eq!((read.as_slice(), whole), (rest, true)),
            (_, Body::Whole { bytes, .. }) => assert_eq!((read, whole), (bytes, true)),
            (_, Body::Cut { bytes }) => assert_eq!((read, whole), (bytes, false)),
            // A line that has not come to its end can be malformed already.
            (_, Body::Malformed) => assert!(!whole, "a second reader cannot read the body"),
        }
    }
}

fn read<'t>(pieces: impl Iterator<Item = &'t [u8]>) -> Read {
    let (mut buffer, mut head) = (BytesMut::new(), None);
    let mut body = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if head.is_none() {
            match take_head(&mut buffer) {
                Ok(taken) => head = taken,
                Err(why) => return Read::Refused(why, body),
            }
        }
        let Some(head) = &mut head else { continue };
        while !head.framing.is_done() {
            match head.framing.take(&mut buffer) {
                Ok(taken) if taken.is_empty() => break,
                Ok(taken) => body.extend_from_slice(&taken),
                Err(why) => return Read::Refused(why, body),
            }
        }
    }
    head.map_or(Read::Nothing, |head| Read::Answer {
        status: head.status.as_u16(),
        body,
        whole: head.framing.end().is_ok() || head.framing == Framing::UntilClose,
    })
}

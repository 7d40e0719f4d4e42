//! Reads a request's body, within bounds of size and time.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::failure::{Failure, MAX_BODY_BYTES};

/// How long a body may pause: a caller that is alive sends something in that time.
const PAUSE: Duration = Duration::from_secs(30);

/// Reads all of it.
///
/// # Errors
/// [`Failure::TooLarge`], before anything is read where the length says so; [`Failure::SlowBody`];
/// [`Failure::ClientGone`].
pub async fn read_body(mut incoming: Incoming, headers: &HeaderMap) -> Result<Bytes, Failure> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Failure::TooLarge);
    }
    let Some(first) = piece(&mut incoming).await? else {
        return Ok(Bytes::new());
    };
    if length == Some(first.len()) {
        return Ok(first);
    }
    let mut joined = BytesMut::with_capacity(length.unwrap_or(first.len() * 2));
    joined.extend_from_slice(&first);
    while let Some(piece) = piece(&mut incoming).await? {
        if joined.len() + piece.len() > MAX_BODY_BYTES {
            return Err(Failure::TooLarge);
        }
        joined.extend_from_slice(&piece);
    }
    Ok(joined.freeze())
}

/// The next piece of data; `None` at the end.
async fn piece(incoming: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
        match timeout(PAUSE, frame).await {
            Err(_) => return Err(Failure::SlowBody),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Failure::ClientGone),
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

//! Frames: a length (u32, big endian) and that many bytes of JSON.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest body that either side accepts: a hostile or broken peer cannot make the other allocate more.
pub const FRAME_LIMIT: usize = 64 << 20;

/// A frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("the agent's stream failed")]
    Io(#[from] std::io::Error),
    /// The stream ended between two frames.
    #[error("the agent's stream ended")]
    Closed,
    /// The announced length is over the limit.
    #[error("a frame of {0} bytes was announced, {FRAME_LIMIT} are the limit")]
    TooLong(usize),
    /// The body is not the JSON that was expected.
    #[error("a frame does not hold a known message")]
    Json(#[from] serde_json::Error),
}

/// The bytes of one frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(FrameError::TooLong(length));
    }
    // The limit fits in 32 bits.
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(frame)
}

/// The length of the body that follows this header.
pub fn decode_header(header: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > FRAME_LIMIT {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

/// Write one frame and flush it.
pub fn write_frame<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), FrameError> {
    stream.write_all(&encode(message)?)?;
    stream.flush()?;
    Ok(())
}

/// Read one frame; [`FrameError::Closed`] when the stream ends before its first byte.
pub fn read_frame<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, FrameError> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < 4 {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut body = vec![0; decode_header(header)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Bytes, Job, JobFile, Request};

    #[test]
    fn an_ended_stream_is_told_from_a_torn_one() {
        let closed = read_frame::<Request>(&mut &[][..]);
        assert!(matches!(closed, Err(FrameError::Closed)), "{closed:?}");
        let torn = read_frame::<Request>(&mut &[0, 0][..]);
        assert!(matches!(torn, Err(FrameError::Io(_))), "{torn:?}");
    }

    #[test]
    fn a_huge_frame_is_refused_before_anything_is_allocated() {
        let header = u32::MAX.to_be_bytes();
        let refused = read_frame::<Request>(&mut &header[..]);
        assert!(matches!(refused, Err(FrameError::TooLong(_))), "{refused:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content: Vec<u8>, argv: Vec<String>, deadline_ns: u64) {
            let job = Job {
                argv,
                files: vec![JobFile { name: "a".into(), content: Bytes(content) }],
                deadline_ns,
                ..Job::default()
            };
            let frame = encode(&Request::Execute(job.clone())).unwrap();
            let read: Request = read_frame(&mut &frame[..]).unwrap();
            prop_assert_eq!(read, Request::Execute(job));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read_frame::<Request>(&mut &bytes[..]);
        }
    }
}

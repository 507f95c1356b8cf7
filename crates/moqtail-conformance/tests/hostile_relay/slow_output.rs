//! What a program has received before its session ended is written, however slow the reader of its output.

use std::io::{PipeReader, Read as _};

use moqtail_conformance::{Carrier, Failure, RawListener, RawPeer, data, messages};
use moqtail_e2e::Process;

use crate::{
    over_both_carriers,
    programs::{finished, serve},
    world::ALIAS,
};

/// Objects, and bytes of each: more than a pipe holds, less than a client reads ahead.
const OBJECTS: usize = 3;
const LARGE: usize = 200_000;

/// Why the relay closes.
const LAST_WORDS: &str = "nothing but this";

/// A program that has received all objects and waits for the reader of its output, and its relay.
async fn stuck(listener: &RawListener) -> Result<(Process, RawPeer, PipeReader), Failure> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let url = listener.url();
    let arguments = [
        "subscribe",
        &url,
        "hostile",
        "--track",
        "t",
        "--insecure",
        "--format",
        "lines",
        "-v",
    ];
    let program = Process::piped(arguments, writer);
    let relay = serve(listener).await?;
    let mut stream = relay.open_uni().await?;
    let header = data::subgroup_header(0x14, ALIAS, 1, Some(0));
    let objects = data::object(0, &[b'x'; LARGE]).repeat(OBJECTS);
    stream.write(&[header, objects].concat()).await?;
    stream.finish();
    assert_eq!(stream.stopped().await?, None);
    // The stream is being read when its first byte is here.
    let reader = tokio::task::spawn_blocking(move || {
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(first, *b"x");
        reader
    })
    .await
    .unwrap();
    Ok((program, relay, reader))
}

/// The rest of the output.
async fn rest(mut reader: PipeReader) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    })
    .await
    .unwrap()
}

over_both_carriers! {
    /// The end of the track is behind all of it, so the program is done and does not connect again.
    async fn a_program_whose_relay_closes_after_the_end_writes_everything(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (program, mut relay, reader) = stuck(&listener).await?;
        relay.send(messages::publish_done(0, 1)).await?;
        assert_eq!(relay.reaction(1).await?, None);
        relay.close(0, LAST_WORDS).await?;
        program.wait_stderr(LAST_WORDS);
        let expected = [vec![b'x'; LARGE], b"\n".to_vec()].concat().repeat(OBJECTS);
        // A program that does not end is killed, and with it ends its output.
        let (rest, end) = tokio::join!(rest(reader), finished(program));
        assert!(rest == expected[1..], "objects are lost or cut");
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        assert!(!end.stderr.iter().any(|line| line.contains("Connecting again")), "{:#?}", end.stderr);
        Ok(())
    }

    /// What waits for the reader does not make the program wait for it.
    async fn a_signal_ends_a_program_whose_output_nobody_takes(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (program, mut relay, reader) = stuck(&listener).await?;
        relay.close(0, LAST_WORDS).await?;
        program.wait_stderr(LAST_WORDS);
        program.terminate();
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        drop(reader);
        Ok(())
    }
}

//! What a peer says when a WebTransport session is set up, its offer of sub-protocols above all.

#![no_main]

use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Frame, Settings, VarInt};

// The reader stands alone; taking the file spares this crate the whole transport.
#[path = "../../../crates/moqtail/src/transport/quic/offer.rs"]
mod offer;

/// A HEADERS frame may hold this much; there is room for more than the offer.
const MAX_OFFER: usize = 8000;

moqtail_fuzz::parser!(64, check);

fn check(data: &[u8]) {
    spliced(data);
    raw(data);
}

/// Whatever is offered, the request is understood.
fn spliced(data: &[u8]) {
    let Some((&spelling, value)) = data.split_first() else {
        return;
    };
    let value = value.get(..MAX_OFFER).unwrap_or(value);
    let mut line = Vec::new();
    let (name, huffman): (&[u8], u8) = match spelling & 1 {
        0 => (b"wt-available-protocols", 0),
        // In the Huffman code of RFC 7541.
        _ => (
            b"\xf0\x95\x87\xdc\x66\xa0\x71\xd0\x55\xab\xb0\xe9\x39\x0f\x42\x3f",
            0b1000,
        ),
    };
    integer(&mut line, 3, 0b0010_0000 | huffman, name.len());
    line.extend_from_slice(name);
    integer(&mut line, 7, (spelling & 2) << 6, value.len());
    line.extend_from_slice(value);

    let url = "https://example.org/p?q";
    let mut encoded = Vec::new();
    let request = ConnectRequest::new(url::Url::parse(url).unwrap());
    request.encode(&mut encoded).unwrap();
    let mut section = payload(&encoded).to_vec();
    let whole = section.clone();
    // Behind the two bytes of the prefix, or at the end.
    let at = if spelling & 4 == 0 { 2 } else { section.len() };
    section.splice(at..at, line);

    assert_eq!(offer::without_offer(&section), Some(whole));
    let request = offer::decode_request(&section);
    assert_eq!(request.unwrap().url.as_str(), url, "another URL");
}

/// Bytes of any kind.
fn raw(data: &[u8]) {
    if let Some(kept) = offer::without_offer(data) {
        assert!(kept.len() <= data.len());
        let again = offer::without_offer(&kept);
        assert_eq!(again, Some(kept), "something was left");
        let request = offer::decode_request(data);
        assert!(
            !matches!(request, Err(ConnectError::InvalidProtocol)),
            "an offer was left"
        );
    }
    let _: Result<_, _> = ConnectRequest::decode(&mut &data[..]);
    let _: Result<_, _> = ConnectResponse::decode(&mut &data[..]);
    let _: Result<_, _> = ConnectResponse::decode(&mut frame(Frame::HEADERS, data).as_slice());
    let _: Result<_, _> = Settings::decode(&mut &data[..]);
    // Type 0: a control stream.
    let settings = [&[0][..], &frame(Frame::SETTINGS, data)].concat();
    let _: Result<_, _> = Settings::decode(&mut settings.as_slice());
}

fn frame(kind: Frame, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    kind.encode(&mut frame);
    VarInt::try_from(payload.len()).unwrap().encode(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

fn payload(mut frame: &[u8]) -> &[u8] {
    let whole = frame;
    let (_, payload) = Frame::read(&mut frame).unwrap();
    &whole[whole.len() - payload.limit()..]
}

/// An integer with a prefix of so many bits, below `flags` (RFC 7541 §5.1).
fn integer(out: &mut Vec<u8>, bits: u32, flags: u8, value: usize) {
    let mask = u8::MAX >> (8 - bits);
    if value < usize::from(mask) {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask);
    let mut rest = value - usize::from(mask);
    while rest >= 128 {
        out.push(128 | rest as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

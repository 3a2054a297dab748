//! From what goes over the wire to what a person reads: unfolding, RFC 2047, quoted-printable.

/// A header's value, unfolded and decoded; names are compared without regard to case.
#[must_use]
pub fn header(raw: &str, name: &str) -> Option<String> {
    let head = raw.split("\r\n\r\n").next().unwrap_or_default();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let line = unfolded
        .lines()
        .find(|line| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)))?;
    Some(encoded_words(line.split_once(':')?.1.trim()))
}

/// The body, decoded when it is quoted-printable.
#[must_use]
pub fn body(raw: &str) -> String {
    let body = raw.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let encoding = header(raw, "Content-Transfer-Encoding").unwrap_or_default();
    let text = match encoding.to_ascii_lowercase().as_str() {
        "quoted-printable" => quoted_printable(&body.replace("=\r\n", ""), false),
        "base64" => base64(body),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

/// Decodes `=?utf-8?b?...?=` and `=?utf-8?q?...?=`; blanks between two of them vanish.
fn encoded_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, word)) = rest.split_once("=?") {
        let parts: Vec<&str> = word.splitn(3, '?').collect();
        let [_charset, encoding, tail] = parts[..] else { break };
        let Some((coded, following)) = tail.split_once("?=") else { break };
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        let bytes = if encoding.eq_ignore_ascii_case("b") {
            base64(coded)
        } else {
            quoted_printable(coded, true)
        };
        out.push_str(&String::from_utf8_lossy(&bytes));
        rest = following;
        after_word = true;
    }
    out.push_str(rest);
    out
}

fn quoted_printable(text: &str, underscore_is_blank: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'=', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'_', _) if underscore_is_blank => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|known| *known == byte));
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for digit in digits {
        bits = (bits << 6) | u32::try_from(digit).unwrap_or(0);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Subject: =?utf-8?b?W01DT10g?= =?utf-8?q?Coll=C3=A8ge_J?=\r\n . Moulin\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        R=C3=A9f=C3=A9rence     INC-2026-=\r\n000001\r\n";

    #[test]
    fn headers_are_unfolded_and_decoded() {
        assert_eq!(header(MAIL, "subject").as_deref(), Some("[MCO] Collège J . Moulin"));
        assert_eq!(header(MAIL, "To"), None);
    }

    #[test]
    fn bodies_are_decoded() {
        assert_eq!(body(MAIL), "Référence     INC-2026-000001\n");
    }
}

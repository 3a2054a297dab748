use proptest::prelude::*;

use super::*;

const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn a_token_is_read_with_its_secret_in_either_form() {
    let bytes: Vec<u8> = (0..32).collect();
    let hexadecimal = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for secret in [hexadecimal, base64] {
        let token: Token = format!(" k3-A_9.{secret}.{PIN}\n").parse().unwrap();
        assert_eq!(token.id, "k3-A_9");
        assert_eq!(token.secret, bytes);
        assert_eq!(token.pin[..3], [0x00, 0x11, 0x22]);
    }
}

#[test]
fn what_is_wrong_with_a_token_is_told_without_repeating_it() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for (text, error) in [
        (String::new(), TokenError::Parts),
        (format!("id.{secret}"), TokenError::Parts),
        (format!("id.{secret}.{PIN}.more"), TokenError::Parts),
        (format!("{}.{secret}.{PIN}", "i".repeat(500)), TokenError::Parts),
        (format!(".{secret}.{PIN}"), TokenError::Id),
        (format!("é.{secret}.{PIN}"), TokenError::Id),
        (format!("id.{}.{PIN}", "A".repeat(20)), TokenError::Secret),
        (format!("id.{secret}=.{PIN}"), TokenError::Secret),
        (format!("id.{}.{PIN}", "zz".repeat(32)), TokenError::Secret),
        (format!("id.{secret}.{}", &PIN[1..]), TokenError::Pin),
        (format!("id.{secret}.{}zz", &PIN[2..]), TokenError::Pin),
    ] {
        let found = text.parse::<Token>().unwrap_err();
        assert_eq!(found, error, "{text}");
        assert!(!found.to_string().contains(secret));
    }
}

#[test]
fn a_token_shows_only_its_identifier() {
    let token: Token = format!("id.{}.{PIN}", "41".repeat(32)).parse().unwrap();
    assert_eq!(format!("{token:?}"), "Token { id: \"id\", .. }");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _either: Result<Token, TokenError> = text.parse();
    }

    #[test]
    fn no_two_texts_are_one_secret(one in "[A-Za-z0-9_-]{1,3}", two in "[A-Za-z0-9_-]{1,3}") {
        if let (Some(first), Some(second)) = (base64url(&one), base64url(&two)) {
            prop_assert_eq!(first == second, one == two);
        }
    }
}

//! Text from devices as a terminal may see it: whatever could move the cursor, ring, rename the
//! window or turn the line around is shown by its number.

/// One line: every control is escaped, line breaks included.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        push(&mut safe, character);
        safe
    })
}

/// Many lines: line breaks stay, all else is escaped.
pub(crate) fn escape_lines(text: &str) -> String {
    text.replace("\r\n", "\n").split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

fn push(safe: &mut String, character: char) {
    if is_plain(character) {
        safe.push(character);
    } else {
        safe.extend(['\\', 'x', '{']);
        safe.extend(format!("{:x}", u32::from(character)).chars());
        safe.push('}');
    }
}

/// False for C0, DEL, C1, line and paragraph separators, what has no width, and bidirectional
/// controls.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_gets_through() {
        for (text, expected) in [
            ("Collège É", "Collège É"),
            ("\u{1b}[2J", "\\x{1b}[2J"),
            ("\u{1b}]0;title\u{7}", "\\x{1b}]0;title\\x{7}"),
            ("\u{9b}1m", "\\x{9b}1m"),
            ("a\u{202e}b\u{2066}", "a\\x{202e}b\\x{2066}"),
            ("a\r\nb\0", "a\\x{d}\\x{a}b\\x{0}"),
            ("\u{7f}\u{8}", "\\x{7f}\\x{8}"),
            ("\u{200b}\u{feff}", "\\x{200b}\\x{feff}"),
        ] {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(escape_lines("a\r\nb\rc\n"), "a\nb\\x{d}c\n");
    }

    #[test]
    fn every_control_of_unicode_is_escaped() {
        for character in ('\0'..='\u{9f}').filter(|character| character.is_control()) {
            assert!(escape(&character.to_string()).starts_with("\\x{"), "{character:?}");
        }
    }
}

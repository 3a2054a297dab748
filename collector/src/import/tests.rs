use std::fmt::Write as _;

use super::*;

const HEADER: &str = "uai;name;type;zone;pupils;lot;address;latitude;longitude\n";

fn faults(text: impl AsRef<[u8]>) -> Vec<String> {
    parse(text.as_ref()).unwrap_err().iter().map(ToString::to_string).collect()
}

fn one(line: &str) -> Vec<String> {
    faults(format!("{HEADER}{line}\n"))
}

#[test]
fn a_full_line_and_a_short_one_are_read() {
    let text = format!(
        "{HEADER}0999001w;\"Collège \"\"J. Moulin\"\"; annexe\";college;a;612;2;\"3, rue X\";45,75;4.85\r\n\
         \r\n0999101E;École Z;primaire;Corse;;;;;"
    );
    let sites = parse(text.as_bytes()).unwrap();
    assert_eq!(sites[0].uai.as_str(), "0999001W");
    assert_eq!(sites[0].name, "Collège \"J. Moulin\"; annexe");
    assert_eq!(sites[0].pupils, Some(612));
    assert_eq!(sites[0].position, Some((45.75, 4.85)));
    assert_eq!(sites[1].lot, None);
    assert_eq!(sites[1].position, None);
    assert_eq!(sites.len(), 2);
}

#[test]
fn commas_tabs_marks_and_any_column_order_are_understood() {
    for (mark, separator) in [("\u{feff}", ","), ("", "\t"), ("", ";")] {
        let text =
            format!("{mark}Zone;NAME;type;uai\nB;Lycée;lycee;0999201N").replace(';', separator);
        assert_eq!(parse(text.as_bytes()).unwrap()[0].zone, Zone::B, "{separator:?}");
    }
}

#[test]
fn every_bad_cell_of_every_line_is_told() {
    let text = format!(
        "{HEADER}0750654E;;lycée;D;-3;;;91;\n0999001W;ok;college;A;;;;;\nx;ok;college;A;;;;1e400;2\n\
         0999001W;again;college;A;;;;;\nfew;cells\n"
    );
    insta::assert_snapshot!(faults(text).join("\n"), @r#"
    line 2, column uai: the key letter of 0750654 is D, not E
    line 2, column name: the cell is empty
    line 2, column type: unknown type "lycée", expected one of maternelle, elementaire, primaire, college, lycee, lp, erea, cite-scolaire, autre
    line 2, column zone: unknown zone "D", expected one of A, B, C, Corse, Guadeloupe, Guyane, Martinique, Mayotte, Reunion, SPM, NC, PF, WF
    line 2, column pupils: "-3" is not a number from 0 to 100000
    line 2, column latitude: "91" is not a number from -90 to 90
    line 4, column uai: a UAI is seven digits and a letter, such as 0999001W
    line 4, column latitude: "1e400" is not a number from -90 to 90
    line 5, column uai: the UAI stands in line 3 already
    line 6: the line has 2 cells, the header has 9
    "#);
}

#[test]
fn half_a_position_names_the_missing_half() {
    let expected = ["line 2, column longitude: latitude and longitude come together"];
    assert_eq!(one("0999001W;x;college;A;;;;45;"), expected);
    assert_eq!(one("0999001W;x;college;A;;;;NaN;").len(), 1);
}

#[test]
fn wrong_encodings_are_named() {
    let utf16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let expected = ["line 1: the file is UTF-16, save it as UTF-8"];
    assert_eq!(faults(&utf16), expected);
    assert_eq!(faults([&[0xFF, 0xFE][..], &utf16].concat()), expected);
    let mut latin1 = HEADER.as_bytes().to_vec();
    latin1.extend(b"0999001W;Coll\xE8ge;college;A;;;;;\n");
    assert_eq!(
        faults(latin1),
        ["line 2: the file is not UTF-8 (byte 14 of the line), save it as UTF-8"]
    );
}

#[test]
fn quotes_gone_wrong_do_not_hide_the_lines_below() {
    let text = format!("{HEADER}0999001W;\"open;college;A;;;;;\n0999101E;a\"b;college;A;;;;;\nx\n");
    assert_eq!(
        faults(text),
        [
            "line 2: a quote is opened and never closed",
            "line 3: a quote stands inside a cell; write the cell in quotes and double the quote",
            "line 4: the line has 1 cells, the header has 9",
        ]
    );
}

#[test]
fn headers_are_checked() {
    assert_eq!(
        faults("uai;nom;type;type\n"),
        [
            "line 1: unknown column \"nom\", expected uai, name, type, zone, pupils, lot, address, latitude, longitude",
            "line 1, column type: the column stands there twice",
            "line 1, column name: the column is missing",
            "line 1, column zone: the column is missing",
        ]
    );
    for empty in ["", "\n\n", "\u{feff}", HEADER] {
        assert_eq!(faults(empty), ["line 1: the file names no site"], "{empty:?}");
    }
    let million = format!("{}\n", ";".repeat(60_000));
    assert!(faults(million).len() < 20);
}

#[test]
fn limits_hold_at_and_past_their_edge() {
    assert_eq!(
        faults(vec![b'x'; MAX_BYTES + 1]),
        ["line 1: the file has more than 10485760 bytes"]
    );
    assert_eq!(faults(vec![b'x'; MAX_BYTES]), ["line 1: the line has more than 65536 bytes"]);

    let line = |chars: usize| format!("0999001W;{};college;A;;;;;", "é".repeat(chars));
    assert!(parse(format!("{HEADER}{}", line(MAX_NAME_CHARS)).as_bytes()).is_ok());
    assert_eq!(
        one(&line(MAX_NAME_CHARS + 1)),
        ["line 2, column name: the text has more than 200 characters"]
    );

    let mut lines = format!("{HEADER}0999001W;x;college;A;;;;;");
    lines.push_str(&"\n".repeat(MAX_LINES - 1));
    assert!(parse(lines.as_bytes()).is_ok());
    lines.push_str("\nx");
    assert_eq!(faults(lines), ["line 100001: the file has more than 100000 lines"]);
}

#[test]
fn hostile_cells_are_refused_or_kept_as_they_are() {
    assert_eq!(
        one("0999001W;a\u{1b}[2J;college;A;;;;;"),
        ["line 2, column name: the text has a control character"]
    );
    assert_eq!(
        one("0999001W;a\0b;college;A;;;;;"),
        ["line 2, column name: the text has a control character"]
    );
    let hostile = one(&format!("0999001W;x;\u{202e}{};A;;;;;", "z".repeat(1000)));
    assert!(hostile[0].len() < 250 && !hostile[0].contains('\u{202e}'), "{hostile:?}");
    let formula = format!("{HEADER}0999001W;=HYPERLINK(1);college;A;;;;;");
    assert_eq!(parse(formula.as_bytes()).unwrap()[0].name, "=HYPERLINK(1)");
}

#[test]
fn five_thousand_lines_take_well_under_ten_seconds() {
    let mut text = HEADER.to_owned();
    for number in 0..5_000 {
        let uai = Uai::from_number(number).unwrap();
        writeln!(text, "{uai};École {number};primaire;A;130;2;1 rue de l'École;45.1;4.8").unwrap();
    }
    let start = std::time::Instant::now();
    assert_eq!(parse(text.as_bytes()).unwrap().len(), 5_000);
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_sites_or_faults_and_never_both(bytes in proptest::collection::vec(0_u8.., 0..2_000)) {
        if let Err(faults) = parse(&bytes) {
            proptest::prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn what_a_strict_writer_wrote_is_read_back(name in "[^\\p{Cc}\\s][^\\p{Cc}]{0,50}[^\\p{Cc}\\s]") {
        let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
        writer.write_record(["uai", "name", "type", "zone"]).unwrap();
        writer.write_record(["0999001W", &name, "lp", "C"]).unwrap();
        let bytes = writer.into_inner().unwrap();
        proptest::prop_assert_eq!(&parse(&bytes).unwrap()[0].name, &name);
    }
}

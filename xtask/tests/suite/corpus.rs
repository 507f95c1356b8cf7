//! Vector files become seeds of the fuzz targets.

use std::fs;

use xtask::corpus;

use crate::scratch::Scratch;

#[test]
fn a_vector_file_has_a_case_a_line() {
    let text = "# Cases.\n\nmin | 20 00 01 | ClientSetup\nmax|FFff\n";
    let vectors = corpus::parse(text).expect("a valid file");
    let case = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    assert_eq!(
        vectors.cases,
        [case("min", &[0x20, 0, 1]), case("max", &[0xff, 0xff])]
    );
    assert_eq!(vectors.targets, [""; 0]);
}

#[test]
fn long_runs_of_a_byte_are_written_short() {
    let vectors = corpus::parse("long | 01 61*3 0203*2").expect("a valid file");
    let bytes = vectors.cases.first().map(|(_, bytes)| &bytes[..]);
    assert_eq!(bytes, Some(&[1, 0x61, 0x61, 0x61, 2, 3, 2, 3][..]));
}

#[test]
fn a_broken_line_is_named() {
    for broken in ["name", "| 00", "name | 0", "name | 0g", "name | 00*x"] {
        let error = corpus::parse(&format!("a | 00\n{broken}\n")).expect_err(broken);
        assert!(error.to_string().starts_with("2: expected"), "{error}");
    }
}

#[test]
fn seeds_go_to_the_targets_that_a_file_names_and_replace_the_last() {
    let scratch = Scratch::empty("corpus");
    scratch.write("fuzz/src/bin/control.rs", "");
    scratch.write("fuzz/src/bin/datagram.rs", "");
    scratch.write("fuzz/corpus/control/golden-old", "gone");
    scratch.write("fuzz/corpus/control/found", "kept");
    let vectors = "crates/moqtail/tests/vectors";
    scratch.write(
        &format!("{vectors}/setup.txt"),
        "# fuzz: control\nno parameters | 20 01\n",
    );
    scratch.write(&format!("{vectors}/any.txt"), "empty | \n");

    let seeds = corpus::write(scratch.root()).expect("valid vectors");
    let count = |target: &str| seeds.get(target).copied();
    assert_eq!((count("control"), count("datagram")), (Some(2), Some(1)));

    let names = |target: &str| {
        let folder = scratch.root().join("fuzz/corpus").join(target);
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a corpus")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names("control"),
        ["found", "golden-any-empty", "golden-setup-no-parameters"]
    );
    assert_eq!(names("datagram"), ["golden-any-empty"]);
    let seed = scratch
        .root()
        .join("fuzz/corpus/control/golden-setup-no-parameters");
    assert_eq!(fs::read(seed).expect("a seed"), [0x20, 1]);
}

#[test]
fn a_target_that_would_begin_with_nothing_is_named() {
    let scratch = Scratch::empty("corpus-empty");
    scratch.write("fuzz/src/bin/control.rs", "");
    scratch.write("fuzz/src/bin/media.rs", "");
    scratch.write("fuzz/corpus/media/found", "kept");
    let vectors = "crates/moqtail/tests/vectors/a.txt";
    scratch.write(vectors, "# fuzz: media\n");
    let error = corpus::write(scratch.root()).expect_err("an empty corpus");
    assert!(
        error
            .to_string()
            .starts_with("fuzz/corpus/control is empty"),
        "{error}"
    );
    scratch.write(vectors, "# fuzz: control\nempty | \n");
    assert!(corpus::write(scratch.root()).is_ok());
}

#[test]
fn a_target_that_does_not_exist_is_named() {
    let scratch = Scratch::empty("corpus-unknown");
    scratch.write("crates/moqtail/tests/vectors/a.txt", "# fuzz: nothing\n");
    let error = corpus::write(scratch.root()).expect_err("an unknown target");
    assert!(
        error
            .to_string()
            .contains("no fuzz target is called `nothing`"),
        "{error}"
    );
}

//! Seeds of the fuzz targets, written from the golden vectors.
//!
//! A vector file holds one case a line, `name | hex`, in which `61*300` is the byte 61, 300 times. Further fields are
//! ignored, and so are blank lines and comments (`#`). A comment `# fuzz: TARGET …` says which targets the file feeds;
//! without one it feeds all.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{Result, source::files_under};

const VECTORS: &str = "crates/moqtail/tests/vectors";
const TARGETS: &str = "fuzz/src/bin";
const CORPUS: &str = "fuzz/corpus";

/// Seeds carry this prefix; what fuzzing found beside them does not, and is kept.
const SEED_PREFIX: &str = "golden-";

/// Cases of one vector file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// Targets named by the file; empty for all.
    pub targets: Vec<String>,
    /// Name and bytes of each case, in order.
    pub cases: Vec<(String, Vec<u8>)>,
}

/// Replaces the seeds of every target and returns how many each has. A target that then begins with nothing, neither seeds
/// nor inputs that were kept, is an error.
pub fn write(root: &Path) -> Result<BTreeMap<String, usize>> {
    let mut seeds: BTreeMap<String, usize> = BTreeMap::new();
    for path in files_under(root, TARGETS)? {
        if let Some(name) = path
            .strip_suffix(".rs")
            .and_then(|path| path.rsplit('/').next())
        {
            seeds.insert(name.to_owned(), 0);
        }
    }
    for target in seeds.keys() {
        let folder = root.join(CORPUS).join(target);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SEED_PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for path in files_under(root, VECTORS)? {
        let Some(stem) = path
            .strip_suffix(".txt")
            .and_then(|path| path.rsplit('/').next())
        else {
            continue;
        };
        let vectors = parse(&fs::read_to_string(root.join(&path))?)
            .map_err(|error| format!("{path}:{error}"))?;
        if let Some(unknown) = vectors
            .targets
            .iter()
            .find(|name| !seeds.contains_key(*name))
        {
            return Err(format!("{path}: no fuzz target is called `{unknown}`").into());
        }
        for (target, count) in &mut seeds {
            if !vectors.targets.is_empty() && !vectors.targets.contains(target) {
                continue;
            }
            for (name, bytes) in &vectors.cases {
                let file = format!("{SEED_PREFIX}{stem}-{}", file_name(name));
                fs::write(root.join(CORPUS).join(target).join(file), bytes)?;
                *count += 1;
            }
        }
    }
    for target in seeds.keys() {
        if fs::read_dir(root.join(CORPUS).join(target))?
            .next()
            .is_none()
        {
            return Err(format!(
                "{CORPUS}/{target} is empty: keep what a run finds, see fuzz/README.md"
            )
            .into());
        }
    }
    Ok(seeds)
}

/// Reads a vector file; the error starts with the line number.
pub fn parse(text: &str) -> Result<Vectors> {
    let mut vectors = Vectors::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            if let Some(targets) = comment.trim().strip_prefix("fuzz:") {
                let names = targets.split([' ', ',']).filter(|name| !name.is_empty());
                vectors.targets.extend(names.map(str::to_owned));
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let mut fields = line.split('|').map(str::trim);
        let case = fields.next().zip(fields.next()).and_then(|(name, hex)| {
            Some((
                name.to_owned(),
                decode_hex(hex).filter(|_| !name.is_empty())?,
            ))
        });
        let Some(case) = case else {
            return Err(format!("{}: expected `name | hex`, got `{line}`", at + 1).into());
        };
        vectors.cases.push(case);
    }
    Ok(vectors)
}

/// Bytes of words such as `0aff`, or `61*300` for the same bytes 300 times.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        let part = decode_word(digits)?;
        bytes.extend(part.repeat(times.parse().ok()?));
    }
    Some(bytes)
}

fn decode_word(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

fn file_name(case: &str) -> String {
    case.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

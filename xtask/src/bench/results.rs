//! What was measured, as tables and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::cells::{CELLS, Cell, FLOOR, HEALTHY, QUIC, Side};

/// What is measured of each run: its name in the result, and where `moqtail bench --json` has it.
const MEASURES: [(&str, &str); 10] = [
    ("cpu_us_per_object", "/relay/cpu_us_per_object"),
    ("cpu_seconds_per_gb", "/relay/cpu_seconds_per_gb"),
    ("p50_ms", "/delivery/latency_ms/p50"),
    ("p99_ms", "/delivery/latency_ms/p99"),
    ("peak_bytes", "/relay/peak_resident_bytes"),
    ("objects_per_second", "/delivery/objects_per_second"),
    ("bits_per_second", "/delivery/bits_per_second"),
    ("healthy", "/healthy"),
    ("lost", "/delivery/lost"),
    ("joined", "/misbehaving/churning/joined"),
];

/// What one side did under one load: each value once a round.
#[derive(Debug, Default)]
struct Rounds {
    values: BTreeMap<&'static str, Vec<f64>>,
    /// What the load generator said was the limit, other than the relay.
    limited_by: Vec<String>,
    /// How stalled and slow subscriptions ended.
    cut_off: Vec<String>,
}

impl Rounds {
    /// The middle value.
    fn middle(&self, name: &str) -> f64 {
        self.values.get(name).map_or(f64::NAN, |v| median(v))
    }

    /// Bytes a second for each measured subscriber.
    fn rate_each(&self) -> f64 {
        self.middle("bits_per_second") / 8.0 / self.middle("healthy")
    }
}

/// Results by load, subscribers and side.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<(usize, u32, &'static str), Rounds>);

impl Results {
    /// Takes the result of a run.
    pub(super) fn add(&mut self, cell: usize, subscribers: u32, side: &Side, result: &Value) {
        let rounds = self.0.entry((cell, subscribers, side.name)).or_default();
        for (name, place) in MEASURES {
            let value = result.pointer(place).and_then(Value::as_f64);
            rounds.values.entry(name).or_default().extend(value);
        }
        let limited_by = result["limited_by"].as_str().map(str::to_owned);
        rounds.limited_by.extend(limited_by);
        for behaviour in ["stalled", "slow"] {
            let ended = result["misbehaving"][behaviour]["ended"].as_object();
            let reasons = ended.into_iter().flat_map(|ended| ended.keys());
            rounds.cut_off.extend(reasons.map(|reason| {
                let code = reason.split([' ', ',']).next().unwrap_or_default();
                format!("{behaviour} {code}")
            }));
        }
    }

    fn of(&self, cell: usize, subscribers: u32, side: &'static str) -> Option<&Rounds> {
        self.0.get(&(cell, subscribers, side))
    }

    /// Each load with its number and one number of subscribers, if its sides were measured.
    fn measured(&self) -> impl Iterator<Item = (usize, &'static Cell, u32)> {
        let loads = CELLS.iter().enumerate();
        loads
            .flat_map(|(at, cell)| cell.subscribers.iter().map(move |count| (at, cell, *count)))
            .filter(|(at, cell, count)| {
                let mut sides = cell.sides.iter();
                sides.all(|side| self.of(*at, *count, side.name).is_some())
            })
    }

    /// Tables of the middle values.
    pub(super) fn tables(&self) -> String {
        let (costs, isolation) = (self.costs(), self.isolation());
        [costs, isolation].concat()
    }

    fn costs(&self) -> String {
        let mut rows = Vec::new();
        for (at, cell, subscribers) in self.measured() {
            let floor = self.of(at, subscribers, FLOOR);
            let quic = self.of(at, subscribers, QUIC);
            let (Some(floor), Some(quic)) = (floor, quic) else {
                continue;
            };
            for side in cell.sides {
                let Some(rounds) = self.of(at, subscribers, side.name) else {
                    continue;
                };
                let middle = |name| rounds.middle(name);
                let cost = middle("cpu_seconds_per_gb");
                let to = |other: &Rounds| number(cost / other.middle("cpu_seconds_per_gb"), 2);
                rows.push(vec![
                    cell.name.to_owned(),
                    subscribers.to_string(),
                    side.name.to_owned(),
                    number(middle("cpu_us_per_object"), 1),
                    number(cost, 2),
                    to(floor),
                    to(quic),
                    number(middle("p50_ms"), 2),
                    number(middle("p99_ms"), 2),
                    number(middle("peak_bytes") / 1e6, 0),
                    number(middle("objects_per_second"), 0),
                    number(middle("lost"), 0),
                    distinct(&rounds.limited_by),
                ]);
            }
        }
        let head = "load | 1 to | served by | CPU us per object | s per GB | ÷ floor | ÷ QUIC | p50 ms | p99 ms | peak MB \
                    | objects/s | lost | limited by";
        table(head, &rows)
    }

    fn isolation(&self) -> String {
        let mut rows = Vec::new();
        for (at, cell, subscribers) in self.measured() {
            let Some(healthy) = self.of(at, subscribers, HEALTHY) else {
                continue;
            };
            for side in cell.sides {
                let Some(rounds) = self.of(at, subscribers, side.name) else {
                    continue;
                };
                let middle = |name| rounds.middle(name);
                let ratio = |name| number(middle(name) / healthy.middle(name), 2);
                rows.push(vec![
                    cell.name.to_owned(),
                    subscribers.to_string(),
                    side.name.to_owned(),
                    number(rounds.rate_each() / 1e6, 2),
                    number(rounds.rate_each() / healthy.rate_each(), 2),
                    number(middle("p50_ms"), 2),
                    ratio("p50_ms"),
                    number(middle("p99_ms"), 2),
                    ratio("p99_ms"),
                    number(middle("cpu_seconds_per_gb"), 2),
                    number(middle("peak_bytes") / 1e6, 0),
                    number(middle("lost"), 0),
                    number(middle("joined"), 0),
                    distinct(&rounds.cut_off),
                    distinct(&rounds.limited_by),
                ]);
            }
        }
        let head = "load | 1 to | subscribers | MB/s for each healthy one | ratio | p50 ms | ratio | p99 ms | ratio | s per GB \
                    | peak MB | lost | joins | cut off | limited by";
        table(head, &rows)
    }

    /// Every value of every round.
    pub(super) fn json(&self) -> Value {
        let rounds = self.0.iter().map(|((at, subscribers, side), rounds)| {
            json!({
                "load": CELLS.get(*at).map_or("", |cell| cell.name),
                "subscribers": subscribers,
                "side": side,
                "rounds": rounds.values,
                "limited_by": rounds.limited_by,
                "cut_off": rounds.cut_off,
            })
        });
        rounds.collect()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => at(odd / 2),
        even => f64::midpoint(at(even / 2 - 1), at(even / 2)),
    }
}

fn number(value: f64, digits: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.digits$}"),
        false => "–".to_owned(),
    }
}

fn distinct(values: &[String]) -> String {
    let mut distinct = values.to_vec();
    distinct.sort();
    distinct.dedup();
    distinct.join(", ")
}

/// Nothing without rows.
fn table(head: &str, rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let columns = head.split('|').count();
    // Writing to a string does not fail.
    let _ = writeln!(text, "| {head} |\n|{}", "---|".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(us: f64) -> Value {
        json!({ "relay": { "cpu_us_per_object": us, "cpu_seconds_per_gb": us / 10.0 } })
    }

    /// The numbers of the first cells of a row.
    fn row<'t>(text: &'t str, side: &str) -> Vec<&'t str> {
        let line = text.lines().find(|line| line.contains(side));
        line.unwrap_or_else(|| panic!("{side} in {text}"))
            .split('|')
            .map(str::trim)
            .collect()
    }

    #[test]
    fn the_middle_value_counts() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(&[4.0, 2.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn costs_are_compared_with_the_floor_and_with_raw_quic() {
        let mut results = Results::default();
        let [quic, web, floor] = CELLS[0].sides else {
            panic!("three sides");
        };
        for us in [15.0, 90.0, 10.0] {
            results.add(0, 10, quic, &cost(us));
            results.add(0, 10, web, &cost(2.0 * us));
        }
        assert_eq!(results.tables(), "", "nothing to compare with");
        results.add(0, 10, floor, &cost(10.0));
        let text = results.tables();
        assert_eq!(
            row(&text, "relay, QUIC |")[4..8],
            ["15.0", "1.50", "1.50", "1.00"]
        );
        assert_eq!(
            row(&text, "relay, WebTransport |")[4..8],
            ["30.0", "3.00", "3.00", "2.00"]
        );
        assert_eq!(row(&text, "| floor |")[6], "1.00");
        assert_eq!(results.json()[0]["subscribers"], 10);
    }

    #[test]
    fn healthy_subscribers_are_compared_with_those_of_a_run_without_others() {
        let mut results = Results::default();
        let at = CELLS
            .iter()
            .position(|cell| cell.name.contains("isolation"));
        let at = at.unwrap();
        let [odd, healthy] = CELLS[at].sides else {
            panic!("two sides");
        };
        let run = |healthy: u32, p99: f64, ended: Value| {
            json!({
                "healthy": healthy,
                "delivery": { "bits_per_second": 8e8, "lost": 0, "latency_ms": { "p99": p99 } },
                "misbehaving": { "stalled": { "ended": ended } },
                "limited_by": "machine",
            })
        };
        let ended = json!({ "TOO_FAR_BEHIND (0x6), slow": 1 });
        results.add(at, 50, odd, &run(40, 12.0, ended));
        results.add(at, 50, healthy, &run(50, 10.0, json!({})));
        let text = results.tables();
        let row = row(&text, "stalled,");
        assert_eq!(row[4..6], ["2.50", "1.25"]);
        assert_eq!(row[8..10], ["12.00", "1.20"]);
        assert_eq!(row[14..16], ["stalled TOO_FAR_BEHIND", "machine"]);
    }
}

//! The loads, and who serves them.

/// A load.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) name: &'static str,
    /// Arguments of `moqtail bench` but the number of subscribers.
    pub(super) load: &'static str,
    pub(super) subscribers: &'static [u32],
    /// In turns; the last one is what the others are compared with.
    pub(super) sides: &'static [Side],
}

impl Cell {
    /// All arguments for so many subscribers.
    pub(super) fn arguments(&self, side: &Side, subscribers: u32) -> Vec<String> {
        let words = self.load.split_whitespace();
        let words = words.chain(side.more.split_whitespace()).map(str::to_owned);
        let count = ["--subscribers".to_owned(), subscribers.to_string()];
        let deliveries = (PACED_DELIVERIES / subscribers).to_string();
        words
            .map(|word| word.replace("PACED", &deliveries))
            .chain(count)
            .collect()
    }
}

/// Who serves a load, how it is reached, and what the load is then besides.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) program: Program,
    pub(super) scheme: &'static str,
    /// More arguments of `moqtail bench`.
    more: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Relay,
    Floor,
}

impl Side {
    const fn relay(name: &'static str, scheme: &'static str, more: &'static str) -> Self {
        Self {
            name,
            program: Program::Relay,
            scheme,
            more,
        }
    }
}

/// Names that the tables compare by.
pub(super) const QUIC: &str = "relay, QUIC";
pub(super) const FLOOR: &str = "floor";
pub(super) const HEALTHY: &str = "all healthy";

/// The floor has no WebTransport: what that costs is to be seen, too.
const COSTS: &[Side] = &[
    Side::relay(QUIC, "moqt", ""),
    Side::relay("relay, WebTransport", "https", ""),
    Side {
        name: FLOOR,
        program: Program::Floor,
        scheme: "moqt",
        more: "",
    },
];

const ISOLATION: &[Side] = &[
    Side::relay(
        "one stalled, one slow, one churning",
        "moqt",
        "--stalled 1 --slow 1 --churning 1",
    ),
    Side::relay(HEALTHY, "moqt", ""),
];

/// Objects delivered in a second where the load says PACED objects, whatever the number of subscribers.
const PACED_DELIVERIES: u32 = 10_000;

const MANY: &[u32] = &[10, 50, 100];
const FEW: &[u32] = &[1, 10, 50];

pub(super) const CELLS: &[Cell] = &[
    Cell {
        name: "1200 B paced",
        load: "--size 1200 --groups-per-second 10 --rate PACED",
        subscribers: MANY,
        sides: COSTS,
    },
    Cell {
        name: "10 kB at 30/s",
        load: "--size 10000 --rate 30 --groups-per-second 1",
        subscribers: MANY,
        sides: COSTS,
    },
    Cell {
        name: "1200 B saturating",
        load: "--size 1200 --saturate --objects-per-group 100",
        subscribers: MANY,
        sides: COSTS,
    },
    Cell {
        name: "1200 B saturating, a stream each",
        load: "--size 1200 --saturate",
        subscribers: MANY,
        sides: COSTS,
    },
    Cell {
        name: "10 kB saturating",
        load: "--size 10000 --saturate --objects-per-group 30",
        subscribers: &[1, 10, 50, 100],
        sides: COSTS,
    },
    Cell {
        name: "100 kB saturating",
        load: "--size 100000 --saturate --objects-per-group 10",
        subscribers: FEW,
        sides: COSTS,
    },
    Cell {
        name: "1 MB saturating",
        load: "--size 1000000 --saturate",
        subscribers: FEW,
        sides: COSTS,
    },
    Cell {
        name: "4 MB saturating",
        load: "--size 4000000 --saturate",
        subscribers: FEW,
        sides: COSTS,
    },
    Cell {
        name: "32 MB saturating",
        load: "--size 32000000 --saturate",
        subscribers: FEW,
        sides: COSTS,
    },
    Cell {
        name: "120 B datagrams at 50/s",
        load: "--size 120 --rate 50 --datagrams",
        subscribers: MANY,
        sides: COSTS,
    },
    Cell {
        name: "isolation, 1200 B saturating",
        load: "--size 1200 --saturate --objects-per-group 100",
        subscribers: &[50],
        sides: ISOLATION,
    },
    Cell {
        name: "isolation, 10 kB saturating",
        load: "--size 10000 --saturate --objects-per-group 30",
        subscribers: &[50],
        sides: ISOLATION,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paced_load_delivers_as_much_to_many_as_to_few() {
        let cell = &CELLS[0];
        let arguments = cell.arguments(&cell.sides[0], 50).join(" ");
        assert!(
            arguments.ends_with("--rate 200 --subscribers 50"),
            "{arguments}"
        );
    }

    #[test]
    fn a_side_adds_to_the_load() {
        let cell = CELLS.last().unwrap();
        let arguments = cell.arguments(&cell.sides[0], 50);
        assert!(arguments.contains(&"--stalled".to_owned()));
        assert!(
            !cell
                .arguments(&cell.sides[1], 50)
                .contains(&"--stalled".to_owned())
        );
    }
}

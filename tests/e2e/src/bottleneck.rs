//! A narrow link between two machines that do not exist: network namespaces, made for one test.

use std::{
    ffi::OsStr,
    fs::File,
    net::Ipv4Addr,
    os::fd::AsFd as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Sends through the narrow direction.
    Near,
    /// Receives from it; its own direction is wide.
    Far,
}

/// Two namespaces and the link between them; gone when dropped, with all that runs in them cut off.
#[derive(Debug)]
pub struct Bottleneck {
    names: [String; 2],
}

impl Bottleneck {
    /// The address of the near end.
    pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// Makes a link that carries `kbit` kbit/s from near to far and holds back what is more for at most 100 ms.
    ///
    /// # Panics
    /// Without the right to make network namespaces, or without the programs `ip` and `tc`.
    pub fn new(kbit: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("moqtail-{}-{number}-{end}", std::process::id());
        let link = Self {
            names: [name("near"), name("far")],
        };
        let [near, far] = link.names.each_ref().map(String::as_str);
        let rate = format!("{kbit}kbit");
        for line in [
            format!("ip netns add {near}"),
            format!("ip netns add {far}"),
            format!("ip -n {near} link set lo up"),
            format!("ip -n {near} link add narrow type veth peer name wide netns {far}"),
            format!("ip -n {near} address add {}/24 dev narrow", Self::NEAR),
            format!("ip -n {far} address add 10.77.0.2/24 dev wide"),
            format!("ip -n {near} link set narrow up"),
            format!("ip -n {far} link set wide up"),
            format!(
                "tc -n {near} qdisc add dev narrow root tbf rate {rate} burst 8kb latency 100ms"
            ),
        ] {
            run(&line);
        }
        link
    }

    fn name(&self, place: Place) -> &str {
        &self.names[place as usize]
    }

    /// A command that runs `program` at one end, in the same process.
    pub fn command(&self, place: Place, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.name(place)])
            .arg(program);
        command
    }

    /// Moves the calling thread to one end, for good. Sockets that it opens belong there.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn enter(&self, place: Place) {
        let path = format!("/run/netns/{}", self.name(place));
        let namespace = File::open(path).expect("`ip netns add` made it");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the right to enter a network namespace");
    }
}

impl Drop for Bottleneck {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never made cannot be removed.
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output();
    let reason = match output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "`{line}`: {reason}. This test makes network namespaces: run it as root, with iproute2 installed"
    );
}

//! What the track consists of: everything about an object follows from its location, so whoever publishes it publishes
//! the same.

use std::{cell::OnceCell, rc::Rc};

use bytes::Bytes;

use crate::model::{Extensions, KeyValuePair, Location, ObjectHeader, ObjectStatus};

/// Groups that may exist.
pub(super) const GROUPS: u64 = 16;

/// One subgroup.
#[derive(Debug)]
pub(super) struct Subgroup {
    pub(super) id: u64,
    pub(super) priority: u8,
    pub(super) extensions: bool,
    /// Its last object is the last of the group, and its streams say so.
    pub(super) end_of_group: bool,
    pub(super) objects: Vec<Object>,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) header: ObjectHeader,
    pub(super) payload: Bytes,
}

impl Object {
    pub(super) fn id(&self) -> u64 {
        self.header.object
    }

    pub(super) fn exists(&self) -> bool {
        self.header.status != ObjectStatus::DoesNotExist
    }
}

/// Groups as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Content([OnceCell<Vec<Rc<Subgroup>>>; GROUPS as usize]);

impl Content {
    /// The subgroups of a group; none: it does not exist.
    pub(super) fn group(&self, id: u64) -> &[Rc<Subgroup>] {
        let group = self.0.get(id as usize);
        group.map_or(&[], |group| group.get_or_init(|| make_group(id)))
    }

    /// A subgroup by its id.
    pub(super) fn subgroup(&self, group: u64, id: u64) -> Option<&Subgroup> {
        let mut subgroups = self.group(group).iter();
        subgroups.find(|subgroup| subgroup.id == id).map(Rc::as_ref)
    }
}

/// A number that looks random.
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    n = (n ^ n >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n ^ n >> 29
}

/// Every fourth group does not exist, and some objects of the next one tell that.
fn is_missing(group: u64) -> bool {
    group % 4 == 3
}

fn make_group(group: u64) -> Vec<Rc<Subgroup>> {
    if is_missing(group) {
        return Vec::new();
    }
    // Alone, the objects of a subgroup stand without gaps; where there are several, there are holes.
    let count = 1 + group % 3;
    let mut subgroups: Vec<_> = (0..count)
        .map(|id| {
            let seed = mix(group * 8 + id + 1);
            let mut next = id;
            let objects = (0..2 + seed % 5).map(|_| {
                let object = make_object(group, next);
                next += count
                    * if count == 1 {
                        1
                    } else {
                        1 + mix(seed ^ next) % 2
                    };
                object
            });
            Subgroup {
                id,
                priority: (seed >> 8 & 3) as u8,
                extensions: seed >> 10 & 3 != 0,
                end_of_group: false,
                objects: objects.collect(),
            }
        })
        .collect();
    end(group, &mut subgroups);
    let mut present: Vec<u64> = subgroups
        .iter()
        .flat_map(|subgroup| &subgroup.objects)
        .filter(|object| object.exists())
        .map(Object::id)
        .collect();
    present.sort_unstable();
    for subgroup in subgroups.iter_mut().filter(|subgroup| subgroup.extensions) {
        for object in subgroup.objects.iter_mut().filter(|object| object.exists()) {
            object.header.extensions = make_extensions(group, object, &present);
        }
    }
    subgroups.into_iter().map(Rc::new).collect()
}

fn make_object(group: u64, id: u64) -> Object {
    let seed = mix(group << 8 | id);
    let missing = id > 0 && seed.is_multiple_of(7);
    let len = match seed >> 8 & 7 {
        _ if missing => 0,
        0 => 0,
        1 => 400,
        2 | 3 => seed >> 16 & 31,
        _ => seed >> 16 & 127,
    };
    let payload: Bytes = (0..len).map(|at| (mix(seed ^ at) >> 20) as u8).collect();
    Object {
        header: ObjectHeader {
            object: id,
            extensions: Extensions::default(),
            status: match missing {
                true => ObjectStatus::DoesNotExist,
                false => ObjectStatus::Normal,
            },
            payload_len: len,
        },
        payload,
    }
}

/// How the last object of a group says that it is.
fn end(group: u64, subgroups: &mut [Subgroup]) {
    let last = |subgroup: &Subgroup| subgroup.objects.last().map(Object::id);
    let Some(subgroup) = subgroups.iter_mut().max_by_key(|subgroup| last(subgroup)) else {
        return;
    };
    let seed = mix(group + 77);
    subgroup.end_of_group = seed & 1 == 0;
    let status = match group {
        _ if group == GROUPS - 2 => ObjectStatus::EndOfTrack,
        _ if seed & 6 == 0 => ObjectStatus::EndOfGroup,
        _ => ObjectStatus::Normal,
    };
    if let Some(object) = subgroup.objects.last_mut() {
        object.header.status = status;
        if status != ObjectStatus::Normal {
            object.header.payload_len = 0;
            object.payload = Bytes::new();
        }
    }
}

fn make_extensions(group: u64, object: &Object, present: &[u64]) -> Extensions {
    let id = object.id();
    let seed = mix(group << 8 | id | 1 << 20);
    let mut pairs = Vec::new();
    if seed & 1 == 0 {
        pairs.push(KeyValuePair::Varint { key: 2, value: id });
    }
    let before = present.iter().rev().find(|other| **other < id);
    let gap = id - before.map_or(0, |before| before + 1);
    if gap > 0 && seed & 6 != 0 {
        pairs.push(KeyValuePair::Varint {
            key: 0x3E,
            value: gap,
        });
    }
    if group > 0 && is_missing(group - 1) && seed & 8 == 0 {
        pairs.push(KeyValuePair::Varint {
            key: 0x3C,
            value: 1,
        });
    }
    Extensions::from_pairs(&pairs).expect("small extensions")
}

/// The location of an object.
pub(super) fn at(group: u64, object: &Object) -> Location {
    Location::new(group, object.id())
}

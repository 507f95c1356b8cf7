use serde_json::{Value, json};

use super::*;

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn read(json: Value) -> Result<Catalog, CatalogError> {
    Catalog::from_json(json.to_string().as_bytes())
}

fn video() -> CatalogTrack {
    CatalogTrack {
        role: Some(Role::Video),
        render_group: Some(1),
        init_data: Some(Bytes::from_static(b"\0\x01\x02")),
        codec: Some("avc1.42c01e".into()),
        framerate: Some(29.97),
        timescale: Some(90_000),
        width: Some(640),
        height: Some(360),
        bitrate: Some(800_000),
        ..CatalogTrack::new("video0", Packaging::Cmaf)
    }
}

fn audio() -> CatalogTrack {
    CatalogTrack {
        role: Some(Role::Audio),
        codec: Some("opus".into()),
        samplerate: Some(48_000),
        channel_config: Some("2".into()),
        ..CatalogTrack::new("audio0", Packaging::Cmaf)
    }
}

fn catalog() -> Catalog {
    Catalog {
        generated_at: Some(1_746_104_606_044),
        is_complete: false,
        tracks: vec![video(), audio()],
    }
}

#[test]
fn msf_00_form() {
    let written = value(&catalog().to_json());
    assert_eq!(
        written,
        json!({
            "version": 1,
            "generatedAt": 1_746_104_606_044_u64,
            "tracks": [
                {
                    "name": "video0", "packaging": "cmaf", "isLive": true, "role": "video",
                    "renderGroup": 1, "codec": "avc1.42c01e", "framerate": 29.97,
                    "timescale": 90_000, "bitrate": 800_000, "width": 640, "height": 360,
                    "initData": "AAEC",
                },
                {
                    "name": "audio0", "packaging": "cmaf", "isLive": true, "role": "audio",
                    "codec": "opus", "samplerate": 48_000, "channelConfig": "2",
                },
            ],
        })
    );
}

#[test]
fn msf_01_form_keeps_init_data_in_a_list_at_the_end() {
    let json = catalog().to_json_msf01();
    let written = value(&json);
    assert_eq!(written["version"], "draft-01");
    assert_eq!(written["tracks"][0]["initRef"], "init0");
    assert_eq!(written["tracks"][0].get("initData"), None);
    assert_eq!(
        written["initDataList"],
        json!([{"id": "init0", "type": "inline", "data": "AAEC"}])
    );
    let text = String::from_utf8(json).unwrap();
    assert!(text.find("initDataList") > text.find("tracks"));
}

#[test]
fn both_forms_read_back_equal() {
    assert_eq!(Catalog::from_json(&catalog().to_json()).unwrap(), catalog());
    assert_eq!(
        Catalog::from_json(&catalog().to_json_msf01()).unwrap(),
        catalog()
    );
}

#[test]
fn numbers_read_back_exactly() {
    for framerate in [29.97, 23.976, 59.940_059_940_059_94, 2.997e56] {
        let mut catalog = catalog();
        catalog.tracks[0].framerate = Some(framerate);
        assert_eq!(Catalog::from_json(&catalog.to_json()).unwrap(), catalog);
    }
}

#[test]
fn the_end_form_has_no_tracks() {
    let end = Catalog::complete(Some(5));
    let written = value(&end.to_json());
    assert_eq!(
        written,
        json!({"version": 1, "generatedAt": 5, "isComplete": true, "tracks": []})
    );
    assert_eq!(Catalog::from_json(&end.to_json()).unwrap(), end);
    // `isComplete` MUST NOT be written when false.
    assert_eq!(value(&catalog().to_json()).get("isComplete"), None);
}

#[test]
fn reading_is_tolerant() {
    let read = read(json!({
        "version": 1,
        "com.example": {"a": [1]},
        "generatedAt": 7.0,
        "tracks": [{
            "name": "a", "packaging": "chunk-per-object", "role": "commentary",
            "channelConfig": 2, "width": 640.0, "com.example-tier": "premium",
            "initData": "AAECAw",
        }],
    }));
    let read = read.unwrap();
    assert_eq!(read.generated_at, Some(7));
    let track = &read.tracks[0];
    assert!(track.is_live);
    assert_eq!(track.packaging, Packaging::Other("chunk-per-object".into()));
    assert_eq!(track.role, Some(Role::Other("commentary".into())));
    assert_eq!(track.channel_config.as_deref(), Some("2"));
    assert_eq!(track.width, Some(640));
    assert_eq!(track.init_data.as_deref(), Some(&[0, 1, 2, 3][..]));
}

#[test]
fn versions_that_are_not_understood_are_refused_before_anything_else() {
    for version in [json!(2), json!("draft-07"), json!(1.5)] {
        let error = read(json!({"version": version, "tracks": 5})).unwrap_err();
        assert!(matches!(error, CatalogError::Version(_)), "{error}");
    }
    assert!(matches!(
        read(json!({"tracks": []})),
        Err(CatalogError::Json(_))
    ));
}

#[test]
fn broken_catalogs_name_what_is_wrong() {
    let track = |extra: Value| {
        let mut track = json!({"name": "v", "packaging": "cmaf", "isLive": true});
        track
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        read(json!({"version": 1, "tracks": [track]}))
            .unwrap_err()
            .to_string()
    };
    assert!(track(json!({"initData": "*"})).contains("track `v`"));
    assert!(track(json!({"initRef": "x"})).contains("no entry `x`"));
    assert!(track(json!({"width": -1})).contains("below 0"));
    let twice = json!({"name": "v", "packaging": "cmaf"});
    let error = read(json!({"version": 1, "tracks": [twice, twice]})).unwrap_err();
    assert!(matches!(error, CatalogError::DuplicateTrack(name) if name == "v"));
    assert!(Catalog::from_json(b"{").is_err());
}

#[test]
fn sizes_are_limited() {
    let large = vec![b' '; MAX_CATALOG_BYTES + 1];
    assert!(matches!(
        Catalog::from_json(&large),
        Err(CatalogError::TooLarge { .. })
    ));
    let tracks: Vec<_> = (0..=MAX_CATALOG_TRACKS)
        .map(|n| json!({"name": n.to_string(), "packaging": "cmaf"}))
        .collect();
    let error = read(json!({"version": 1, "tracks": tracks})).unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge { .. }));
}

#[test]
fn delta_updates_apply_in_document_order() {
    let mut catalog = catalog();
    let delta = br#"{
        "deltaUpdate": true,
        "generatedAt": 1746104606044,
        "removeTracks": [{"name": "audio0"}],
        "addTracks": [{"name": "audio0", "isLive": true, "role": "audio", "codec": "mp4a.40.2"}],
        "cloneTracks": [{"parentName": "video0", "name": "video1", "width": 1280, "height": 720}]
    }"#;
    let CatalogObject::Update(update) = CatalogObject::from_json(delta).unwrap() else {
        panic!("a delta update was read as a full catalog");
    };
    catalog.apply(&update).unwrap();
    let names: Vec<_> = catalog
        .tracks
        .iter()
        .map(|track| track.name.as_str())
        .collect();
    assert_eq!(names, ["video0", "audio0", "video1"]);
    assert_eq!(catalog.tracks[1].codec.as_deref(), Some("mp4a.40.2"));
    let clone = &catalog.tracks[2];
    assert_eq!(
        (clone.width, clone.codec.as_deref()),
        (Some(1280), Some("avc1.42c01e"))
    );
    assert_eq!(clone.init_data, catalog.tracks[0].init_data);
}

#[test]
fn msf_01_delta_updates_apply_too() {
    let mut catalog = catalog();
    let delta = br#"{
        "deltaUpdate": [
            {"op": "add", "tracks": [{"name": "t", "packaging": "cmaf", "initRef": "x"}]},
            {"op": "remove", "tracks": [{"name": "video0"}]}
        ],
        "initDataList": [{"id": "x", "type": "inline", "data": "AAEC"}]
    }"#;
    catalog
        .apply(&CatalogUpdate::from_json(delta).unwrap())
        .unwrap();
    let names: Vec<_> = catalog
        .tracks
        .iter()
        .map(|track| track.name.as_str())
        .collect();
    assert_eq!(names, ["audio0", "t"]);
    assert_eq!(catalog.tracks[1].init_data.as_deref(), Some(&[0, 1, 2][..]));
}

fn updated(mut catalog: Catalog, delta: Value) -> Result<Catalog, CatalogError> {
    let update = CatalogUpdate::from_json(delta.to_string().as_bytes())?;
    catalog.apply(&update).map(|()| catalog)
}

#[test]
fn an_update_operation_changes_a_track_in_its_place() {
    let operations = json!([
        {"op": "update", "tracks": [{"name": "video0", "bitrate": 4_000_000}]},
        {"op": "update", "tracks": [{"parentName": "audio0", "name": "voice", "lang": "fr"}]},
    ]);
    let changed = updated(catalog(), json!({"deltaUpdate": operations})).unwrap();
    let mut expected = catalog();
    expected.tracks[0].bitrate = Some(4_000_000);
    expected.tracks[1].name = "voice".into();
    expected.tracks[1].lang = Some("fr".into());
    assert_eq!(changed, expected);

    let taken = json!([{"op": "update", "tracks": [{"parentName": "audio0", "name": "video0"}]}]);
    let taken = updated(catalog(), json!({"deltaUpdate": taken}));
    assert!(matches!(taken, Err(CatalogError::DuplicateTrack(_))));
    let nobody = json!([{"op": "update", "tracks": [{"name": "nobody"}]}]);
    let nobody = updated(catalog(), json!({"deltaUpdate": nobody}));
    assert!(matches!(nobody, Err(CatalogError::UnknownTrack(_))));
}

#[test]
fn an_operation_of_a_later_draft_changes_nothing() {
    let operations = json!([{"op": "praise", "whom": ["video0"]}]);
    let same = updated(catalog(), json!({"deltaUpdate": operations})).unwrap();
    assert_eq!(same, catalog());
}

#[test]
fn a_track_that_names_the_inherited_namespace_is_the_one_without() {
    let inheriting = |json: Value| {
        CatalogObject::from_json(json.to_string().as_bytes())
            .and_then(|object| object.inheriting(|namespace| namespace == "live/film"))
    };
    let track = |namespace: &str| json!({"name": "v", "namespace": namespace, "packaging": "cmaf"});
    let full = inheriting(json!({"version": 1, "tracks": [track("ads"), track("live/film")]}));
    let Ok(CatalogObject::Full(mut catalog)) = full else {
        panic!("{full:?}");
    };
    let namespaces = |catalog: &Catalog| -> Vec<_> {
        let namespaces = catalog.tracks.iter().map(|track| track.namespace.clone());
        namespaces.collect()
    };
    assert_eq!(namespaces(&catalog), [Some("ads".into()), None]);

    let update = inheriting(json!({"deltaUpdate": true, "cloneTracks": [
        {"parentName": "v", "parentNamespace": "live/film", "name": "w", "label": "own"},
        {"parentName": "v", "parentNamespace": "ads", "name": "x", "namespace": "live/film"},
    ], "removeTracks": [{"name": "v", "namespace": "live/film"}]}));
    let Ok(CatalogObject::Update(update)) = update else {
        panic!("{update:?}");
    };
    catalog.apply(&update).unwrap();
    assert_eq!(namespaces(&catalog), [Some("ads".into()), None, None]);

    let without = json!({"name": "v", "packaging": "cmaf"});
    let both = inheriting(json!({"version": 1, "tracks": [track("live/film"), without]}));
    assert!(matches!(both, Err(CatalogError::DuplicateTrack(_))));
}

#[test]
fn a_delta_update_that_does_not_fit_changes_nothing() {
    for delta in [
        r#"{"deltaUpdate": true, "removeTracks": [{"name": "audio0"}, {"name": "nobody"}]}"#,
        r#"{"deltaUpdate": true, "addTracks": [{"name": "audio0", "packaging": "cmaf"}]}"#,
        r#"{"deltaUpdate": true, "cloneTracks": [{"parentName": "nobody", "name": "n"}]}"#,
    ] {
        let mut changed = catalog();
        let update = CatalogUpdate::from_json(delta.as_bytes()).unwrap();
        assert!(changed.apply(&update).is_err(), "{delta}");
        assert_eq!(changed, catalog());
    }
    let empty = CatalogUpdate::from_json(br#"{"deltaUpdate": true}"#);
    assert!(matches!(
        empty,
        Err(CatalogError::WrongKind { expected: "delta" })
    ));
    let full = catalog().to_json();
    assert!(matches!(
        CatalogObject::from_json(&full),
        Ok(CatalogObject::Full(_))
    ));
}

/// How many bytes of initialization data the tracks hold, and how many of them are their own.
fn init_bytes(catalog: &Catalog) -> (usize, usize) {
    let data = || catalog.tracks.iter().filter_map(|t| t.init_data.as_ref());
    let own: std::collections::BTreeMap<_, _> = data().map(|d| (d.as_ptr(), d.len())).collect();
    (data().map(Bytes::len).sum(), own.values().sum())
}

#[test]
fn tracks_with_one_reference_share_the_bytes() {
    let tracks = |n: std::ops::Range<usize>| -> Vec<_> {
        n.map(|n| json!({"name": n.to_string(), "packaging": "cmaf", "initRef": "x"}))
            .collect()
    };
    let list = json!([
        {"id": "x", "type": "inline", "data": "A".repeat(4000)},
        {"id": "x", "type": "inline", "data": "not this one"},
    ]);
    let full = json!({"version": "draft-01", "tracks": tracks(0..100), "initDataList": list});
    let mut catalog = read(full).unwrap();
    assert_eq!(init_bytes(&catalog), (300_000, 3000));

    let add = json!([{"op": "add", "tracks": tracks(100..200)}]);
    let update = json!({"deltaUpdate": add, "initDataList": list}).to_string();
    let update = CatalogUpdate::from_json(update.as_bytes()).unwrap();
    catalog.apply(&update).unwrap();
    assert_eq!(init_bytes(&catalog), (600_000, 6000));

    let again = Catalog::from_json(&catalog.to_json_msf01()).unwrap();
    assert_eq!(again, catalog);
    assert_eq!(init_bytes(&again), (600_000, 6000));
}

#[test]
fn a_clone_shares_the_bytes_of_its_parent_unless_it_brings_its_own() {
    let mut catalog = catalog();
    let delta = br#"{
        "deltaUpdate": true,
        "cloneTracks": [
            {"parentName": "video0", "name": "same"},
            {"parentName": "video0", "name": "none", "initData": null},
            {"parentName": "video0", "name": "own", "initData": "AQ=="},
            {"parentName": "video0", "name": "other", "initRef": "x"}
        ],
        "initDataList": [{"id": "x", "type": "inline", "data": "Ag=="}]
    }"#;
    catalog
        .apply(&CatalogUpdate::from_json(delta).unwrap())
        .unwrap();
    let data: Vec<_> = catalog.tracks[2..]
        .iter()
        .map(|track| track.init_data.as_deref())
        .collect();
    assert_eq!(data, [Some(&[0, 1, 2][..]), None, Some(&[1]), Some(&[2])]);
    assert_eq!(init_bytes(&catalog), (8, 5));
}

#[test]
fn an_update_does_not_make_much_of_little() {
    let long = CatalogTrack {
        label: Some("l".repeat(MAX_CATALOG_BYTES / 2)),
        ..video()
    };
    let mut changed = Catalog {
        tracks: vec![long],
        ..Catalog::default()
    };
    let before = changed.clone();
    // Though each clone goes at once.
    let delta = br#"{"deltaUpdate": [
        {"op": "clone", "tracks": [{"parentName": "video0", "name": "a"}]},
        {"op": "remove", "tracks": [{"name": "a"}]}
    ]}"#;
    let update = CatalogUpdate::from_json(delta).unwrap();
    let error = changed.apply(&update).unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge { .. }), "{error}");
    assert_eq!(changed, before);
}

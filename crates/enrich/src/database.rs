//! MaxMind and DB-IP databases (.mmdb): opened, checked whole, and exchanged when the file changes.

use crate::Network;
use crate::file::Watch;
use crate::shared::Shared;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Bytes of a database: several times the largest sold today. It is held in memory whole.
const MAX_BYTES: u64 = 1 << 30;
/// Networks of one database are at most this many times its nodes; a tree with more has a cycle.
const MAX_NETWORKS_PER_NODE: u64 = 3;

/// Where an address is, as far as a database knows. Places of addresses are estimates, those of cities coarse ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Place {
    /// ISO 3166-1 alpha-2, upper case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Box<str>>,
    /// Name of the first subdivision, such as a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Box<str>>,
    /// Name of the city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<Box<str>>,
    /// Degrees north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
}

/// What a database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    City,
    Country,
    Asn,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Country => "country",
            Self::Asn => "asn",
        }
    }

    const fn content(self) -> &'static str {
        match self {
            Self::City => "cities",
            Self::Country => "countries",
            Self::Asn => "autonomous systems",
        }
    }
}

/// Why a database is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be read.
    #[error("{0}")]
    Read(String),
    /// It is not a database, or a part of one.
    #[error("{path} is not a whole MaxMind database: {why}; download it again")]
    Broken {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is a database of something else.
    #[error("{path} holds no {wanted}: it is a database of type '{is}'")]
    Content {
        /// Which file.
        path: String,
        /// What was looked for in it.
        wanted: &'static str,
        /// What it calls itself.
        is: String,
    },
}

/// A name: plain, or one per language of which the English counts.
#[derive(Debug, Default)]
struct Name<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or names")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Some(text).filter(|t| !t.is_empty())))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name<'de>, A::Error> {
                let mut name = Name(None);
                while let Some(key) = map.next_key::<&str>()? {
                    match key {
                        "en" => name = map.next_value()?,
                        "names" => name = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(name)
            }
        }
        d.deserialize_any(Names)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Country<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// What is read of a record: the fields of MaxMind's and DB-IP's databases, and the flat ones of their conversions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Country<'a>,
    country_code: Option<&'a str>,
    city: Name<'a>,
    subdivisions: Vec<Name<'a>>,
    state1: Option<&'a str>,
    location: Location,
    latitude: Option<f64>,
    longitude: Option<f64>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

/// Where a record says an address is.
fn place(record: &Record<'_>) -> Option<Place> {
    let text = |t: Option<&str>| t.filter(|t| !t.is_empty()).map(Box::from);
    let place = Place {
        country: text(record.country.iso_code.or(record.country_code)),
        region: text(record.subdivisions.first().and_then(|s| s.0).or(record.state1)),
        city: text(record.city.0),
        latitude: record.location.latitude.or(record.latitude),
        longitude: record.location.longitude.or(record.longitude),
    };
    (place != Place::default()).then_some(place)
}

impl Record<'_> {
    fn serves(&self, role: Role) -> bool {
        match role {
            Role::City => self.city.0.is_some(),
            Role::Country => self.country.iso_code.or(self.country_code).is_some(),
            Role::Asn => self.autonomous_system_number.is_some(),
        }
    }
}

/// An open database whose every record has been read once.
#[derive(Debug)]
struct Database {
    reader: Reader<Vec<u8>>,
    records: u64,
    bytes: u64,
}

impl Database {
    /// Opens what was read from `path`.
    fn open(bytes: Vec<u8>, path: &Path, role: Role) -> Result<Self, DatabaseError> {
        let broken = |e: MaxMindDbError| DatabaseError::Broken {
            path: path.display().to_string(),
            why: e.to_string(),
        };
        let size = bytes.len() as u64;
        let reader = Reader::from_source(bytes).map_err(broken)?;
        let (mut serves, mut networks) = (false, 0_u64);
        let most = u64::from(reader.metadata().node_count) * MAX_NETWORKS_PER_NODE + 8;
        // Records are shared between networks; each is read once.
        let mut seen = HashSet::new();
        for network in reader.networks(WithinOptions::default()).map_err(broken)? {
            let network = network.map_err(broken)?;
            networks += 1;
            if networks > most {
                return Err(broken(MaxMindDbError::invalid_database("its search tree has a cycle")));
            }
            if network.offset().is_some_and(|o| !seen.insert(o)) {
                continue;
            }
            match network.decode::<Record<'_>>() {
                Ok(record) => serves |= record.is_some_and(|r| r.serves(role)),
                // A field of another type belongs to a database of another kind, which is said below.
                Err(MaxMindDbError::Decoding { .. }) => {}
                Err(e) => return Err(broken(e)),
            }
        }
        if !serves {
            let is = reader.metadata().database_type.chars().take(80).collect();
            return Err(DatabaseError::Content {
                path: path.display().to_string(),
                wanted: role.content(),
                is,
            });
        }
        Ok(Self { reader, records: seen.len() as u64, bytes: size })
    }

    /// A record, if there is one and it can be read.
    fn look<R>(&self, addr: IpAddr, take: impl FnOnce(&Record<'_>) -> Option<R>) -> Option<R> {
        let found = self.reader.lookup(addr).ok()?;
        found.decode::<Record<'_>>().ok()?.and_then(|r| take(&r))
    }
}

/// Figures of one database.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseFigures {
    /// What it is for: `city`, `country` or `asn`.
    pub role: &'static str,
    /// File.
    pub path: PathBuf,
    /// Whether one is in use.
    pub loaded: bool,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_type: Option<String>,
    /// When it was built, s since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_s: Option<u64>,
    /// Different records.
    pub records: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Times it was loaded.
    pub loads: u64,
    /// Why the file as it is now is not in use; an older state of it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One configured database: the file, and what was last read of it.
#[derive(Debug)]
pub(crate) struct Source {
    role: Role,
    path: PathBuf,
    open: Shared<Option<Database>>,
    state: std::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watch: Watch,
    loads: u64,
    error: Option<String>,
}

impl Source {
    pub(crate) fn new(role: Role, path: PathBuf) -> Self {
        Self { role, path, open: Shared::new(None), state: std::sync::Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads the file. If it cannot be used, what was read before stays in use.
    pub(crate) fn load(&self) -> Result<(), DatabaseError> {
        let mut state = self.state();
        let opened = state
            .watch
            .read(&self.path, MAX_BYTES)
            .map_err(DatabaseError::Read)
            .and_then(|(bytes, _)| Database::open(bytes, &self.path, self.role));
        match opened {
            Ok(database) => {
                self.open.replace(Some(database));
                state.loads += 1;
                state.error = None;
                Ok(())
            }
            Err(e) => {
                state.error = Some(e.to_string());
                Err(e)
            }
        }
    }

    /// Reads the file if it has become another; says what came of it.
    pub(crate) fn reload(&self) -> Option<Result<(), DatabaseError>> {
        let changed = self.state().watch.changed(&self.path);
        changed.then(|| self.load())
    }

    pub(crate) fn version(&self) -> usize {
        self.open.version()
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.open.read(Option::is_some)
    }

    pub(crate) fn place(&self, addr: IpAddr) -> Option<Place> {
        self.open.read(|db| db.as_ref()?.look(addr, place))
    }

    pub(crate) fn network(&self, addr: IpAddr) -> Option<Network> {
        self.open.read(|db| {
            db.as_ref()?.look(addr, |r| {
                Some(Network::new(r.autonomous_system_number?, r.autonomous_system_organization))
            })
        })
    }

    pub(crate) fn figures(&self) -> DatabaseFigures {
        let state = self.state();
        self.open.read(|db| {
            let metadata = db.as_ref().map(|d| d.reader.metadata());
            DatabaseFigures {
                role: self.role.name(),
                path: self.path.clone(),
                loaded: db.is_some(),
                database_type: metadata.map(|m| m.database_type.clone()),
                built_s: metadata.map(|m| m.build_epoch),
                records: db.as_ref().map_or(0, |d| d.records),
                bytes: db.as_ref().map_or(0, |d| d.bytes),
                loads: state.loads,
                error: state.error.clone(),
            }
        })
    }
}

//! Whose network an address is in, and of what kind that network is.
//!
//! Databases of autonomous systems tell number and organisation, not the kind. The kind is read off the organisation's name
//! by the table below, our own; well-known networks whose names do not tell are listed by number. It is a hint for people
//! who read events, and decides nothing.

use serde::Serialize;
use std::sync::Arc;

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Servers for hire: clouds, data centres.
    Hosting,
    /// People's connections: telephone, cable and mobile companies.
    Access,
    /// Content delivery networks.
    Cdn,
    /// Universities, schools, research networks.
    Education,
    /// States, cities, their armies.
    Government,
    /// Nothing in the name tells.
    Unknown,
}

impl NetworkKind {
    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hosting => "hosting",
            Self::Access => "access",
            Self::Cdn => "cdn",
            Self::Education => "education",
            Self::Government => "government",
            Self::Unknown => "unknown",
        }
    }
}

/// An autonomous system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its number (RFC 6793).
    pub asn: u32,
    /// Whose it is, as registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Arc<str>>,
    /// What it is for.
    pub kind: NetworkKind,
}

impl Network {
    /// Of number and organisation.
    #[must_use]
    pub fn new(asn: u32, organisation: Option<&str>) -> Self {
        Self { asn, organisation: organisation.map(Arc::from), kind: kind(asn, organisation.unwrap_or("")) }
    }
}

/// Networks known by number, because the name says nothing or something else.
const BY_NUMBER: &[(u32, NetworkKind)] = {
    use NetworkKind::{Access, Cdn, Hosting};
    &[
        (701, Access),     // Verizon
        (2914, Access),    // NTT
        (3320, Access),    // Deutsche Telekom
        (3356, Access),    // Lumen
        (7018, Access),    // AT&T
        (8075, Hosting),   // Microsoft
        (13335, Cdn),      // Cloudflare
        (14618, Hosting),  // Amazon
        (15169, Hosting),  // Google
        (15133, Cdn),      // Edgio
        (16509, Hosting),  // Amazon
        (16625, Cdn),      // Akamai
        (19551, Cdn),      // Imperva
        (20940, Cdn),      // Akamai
        (22822, Cdn),      // Limelight
        (31898, Hosting),  // Oracle
        (36351, Hosting),  // IBM
        (37963, Hosting),  // Alibaba
        (45102, Hosting),  // Alibaba
        (45090, Hosting),  // Tencent
        (54113, Cdn),      // Fastly
        (60068, Cdn),      // CDN77
        (132203, Hosting), // Tencent
        (396982, Hosting), // Google
    ]
};

/// Kinds by what stands in the name, the first that fits. A word ending in `*` is a beginning; several words stand next to
/// each other. What is special comes before what is common: a university's telecommunications department is education.
const BY_NAME: &[(NetworkKind, &[&str])] = &[
    (
        NetworkKind::Education,
        &[
            "universi*",
            "college",
            "colleges",
            "school*",
            "hochschule*",
            "academi*",
            "education*",
            "research and",
            "institute of",
            "institut",
            "polytech*",
            "faculty",
            "campus",
            "janet",
            "geant",
            "renater",
            "surfnet",
            "garr",
            "dfn",
            "cernet",
            "internet2",
            "nordunet",
            "rediris",
            "students",
        ],
    ),
    (
        NetworkKind::Government,
        &[
            "government",
            "gov",
            "ministry",
            "ministerio",
            "ministere",
            "ministerium",
            "bundes*",
            "federal",
            "municipal*",
            "city of",
            "county of",
            "state of",
            "department of",
            "dept of",
            "parliament",
            "army",
            "navy",
            "military",
            "dod",
            "police",
            "senate",
            "prefectur*",
            "council",
        ],
    ),
    (
        NetworkKind::Cdn,
        &[
            "cdn",
            "cdn77",
            "cdnetworks",
            "content delivery",
            "akamai",
            "fastly",
            "cloudflare*",
            "edgecast",
            "edgio",
            "limelight",
            "bunnyway",
            "gcore",
            "incapsula",
            "imperva",
            "quantil",
            "stackpath",
            "cachefly",
        ],
    ),
    (
        NetworkKind::Hosting,
        &[
            "hosting*",
            "webhost*",
            "host",
            "hosts",
            "hostinger",
            "hosted",
            "cloud*",
            "server*",
            "serverius",
            "vps",
            "vds",
            "datacenter*",
            "datacentre*",
            "data center*",
            "data centre*",
            "datacamp",
            "colo",
            "colocation",
            "colocrossing",
            "dedicated",
            "amazon",
            "aws",
            "azure",
            "digitalocean",
            "linode",
            "hetzner",
            "ovh*",
            "contabo",
            "vultr",
            "choopa",
            "constant company",
            "leaseweb",
            "scaleway",
            "rackspace",
            "alibaba",
            "tencent",
            "ionos",
            "godaddy",
            "namecheap",
            "m247",
            "psychz",
            "worldstream",
            "upcloud",
            "netcup",
            "aruba",
            "quadranet",
            "racknerd",
            "frantech",
            "virtual private",
        ],
    ),
    (
        NetworkKind::Access,
        &[
            "telecom*",
            "telekom*",
            "telefon*",
            "telephone",
            "telcel",
            "telia*",
            "telenor",
            "telstra",
            "telus",
            "telmex",
            "tele2",
            "telnet",
            "broadband",
            "cable*",
            "mobile*",
            "mobil",
            "wireless",
            "cellular",
            "communication*",
            "comunica*",
            "kommunik*",
            "internet service",
            "internet services",
            "isp",
            "fiber*",
            "fibre*",
            "fibra",
            "dsl",
            "wimax",
            "satellite",
            "starlink",
            "comcast",
            "charter",
            "verizon",
            "vodafone",
            "orange",
            "bouygues",
            "proximus",
            "swisscom",
            "rogers",
            "cox",
            "claro",
            "turkcell",
            "airtel",
            "jio",
            "reliance",
            "chinanet",
            "unicom",
            "kddi",
            "softbank",
            "hinet",
            "rostelecom",
            "bezeq",
            "at t",
            "t mobile",
            "networks ltd",
            "residential",
        ],
    ),
];

/// The kind of a network.
fn kind(asn: u32, organisation: &str) -> NetworkKind {
    if let Some((_, kind)) = BY_NUMBER.iter().find(|(number, _)| *number == asn) {
        return *kind;
    }
    let name = organisation.to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    BY_NAME
        .iter()
        .find(|(_, signs)| signs.iter().any(|sign| stands_in(sign, &words)))
        .map_or(NetworkKind::Unknown, |(kind, _)| *kind)
}

/// Whether the words of `sign` stand in `words`, next to each other.
fn stands_in(sign: &str, words: &[&str]) -> bool {
    let wanted: Vec<&str> = sign.split(' ').collect();
    words.windows(wanted.len()).any(|there| {
        there.iter().zip(&wanted).all(|(word, sign)| match sign.strip_suffix('*') {
            Some(beginning) => word.starts_with(beginning),
            None => word == sign,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_off_names() {
        for (asn, name, expected) in [
            (24940, "Hetzner Online GmbH", NetworkKind::Hosting),
            (14061, "DIGITALOCEAN-ASN", NetworkKind::Hosting),
            (16276, "OVH SAS", NetworkKind::Hosting),
            (15169, "GOOGLE", NetworkKind::Hosting),
            (13335, "CLOUDFLARENET", NetworkKind::Cdn),
            (54113, "FASTLY", NetworkKind::Cdn),
            (3320, "Deutsche Telekom AG", NetworkKind::Access),
            (7922, "COMCAST-7922", NetworkKind::Access),
            (1221, "Telstra Pty Ltd", NetworkKind::Access),
            (21928, "T-MOBILE-AS21928", NetworkKind::Access),
            (3, "Massachusetts Institute of Technology", NetworkKind::Education),
            (680, "Verein zur Foerderung eines Deutschen Forschungsnetzes DFN e.V.", NetworkKind::Education),
            (559, "Stanford University Telecommunications", NetworkKind::Education),
            (1, "City of Springfield", NetworkKind::Government),
            (2, "Ministry of Finance", NetworkKind::Government),
            (4, "Ghostwriter Ltd", NetworkKind::Unknown),
            (5, "Example Bakery", NetworkKind::Unknown),
            (6, "", NetworkKind::Unknown),
        ] {
            assert_eq!(kind(asn, name), expected, "{name}");
        }
    }

    #[test]
    fn signs_are_lower_case_and_numbers_unique() {
        for (_, signs) in BY_NAME {
            for sign in *signs {
                assert_eq!(*sign, sign.to_lowercase());
            }
        }
        let mut numbers: Vec<u32> = BY_NUMBER.iter().map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), BY_NUMBER.len());
    }
}

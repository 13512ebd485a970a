//! The quantities that rules may bound: one table, from which names, evaluation and documentation come.
//!
//! A metric belongs to one [`Subject`]. Those of windows are computed from the window; those of a profile are handed over
//! with its [`crate::profile::Observation`].

use crate::names;
use crate::profile::Subject;
use flow::{Span, Window};
use serde::{Deserialize, Serialize};

macro_rules! metrics {
    (
        window { $($variant:ident $name:literal $unit:literal $label:literal $meaning:literal $value:expr;)* }
        $($subject:ident { $($pvariant:ident $pname:literal $punit:literal $plabel:literal $pmeaning:literal;)* })*
    ) => {
        /// A quantity of a window or of a profile's subject.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Metric {
            $(#[doc = $meaning] $variant,)*
            $($(#[doc = $pmeaning] $pvariant,)*)*
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* $($(Self::$pvariant,)*)*];

            /// What it is a quantity of.
            #[must_use]
            pub const fn subject(self) -> Subject {
                match self {
                    $(Self::$variant => Subject::Window,)*
                    $($(Self::$pvariant => Subject::$subject,)*)*
                }
            }

            /// The name in rule files and in evidence.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* $($(Self::$pvariant => $pname,)*)* }
            }

            /// The unit.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* $($(Self::$pvariant => $punit,)*)* }
            }

            /// How an explanation calls it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* $($(Self::$pvariant => $plabel,)*)* }
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* $($(Self::$pvariant => $pmeaning,)*)* }
            }

            /// The value in `window` of length `span`; `None` where it cannot be computed, and for metrics of profiles.
            #[must_use]
            #[inline]
            pub fn of(self, window: &Window, span: Span) -> Option<f64> {
                match self {
                    $(Self::$variant => {
                        let value: fn(&Window, Span) -> Option<f64> = $value;
                        value(window, span)
                    })*
                    $($(Self::$pvariant => None,)*)*
                }
            }
        }
    };
}

/// A count that is kept for every window.
#[expect(clippy::unnecessary_wraps, reason = "the form of every metric")]
fn count(n: u32) -> Option<f64> {
    Some(f64::from(n))
}

/// A distinct count that is only begun above a floor, so that 0 means not known.
fn counted(n: u32) -> Option<f64> {
    (n > 0).then(|| f64::from(n))
}

/// A rate over the whole span, also while the window still runs: it grows towards the final value, never beyond.
#[expect(clippy::unnecessary_wraps, reason = "the form of every metric")]
fn rate(n: u32, span: Span) -> Option<f64> {
    Some(f64::from(n) / f64::from(span.seconds()))
}

fn ratio(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

metrics! {
    window {
        FailedFlows "failed_flows" "flows" "failed connections"
            "Flows whose opening failed: refused, not answered within the grace time, or reset by the initiator before either side sent payload."
            |w, _| count(w.failed_flows);
        FailedServices "failed_services" "services" "services tried without success"
            "Distinct (host, port) pairs of failed TCP flows."
            |w, _| count(w.failed_services());
        FailedHosts "failed_hosts" "hosts" "hosts tried without success"
            "Distinct hosts of failed TCP flows."
            |w, _| count(w.failed_hosts());
        FailedPorts "failed_ports" "ports" "TCP ports tried without success"
            "Distinct ports of failed TCP flows, over all hosts."
            |w, _| count(w.failed_ports());
        FailedPortsPerHost "failed_ports_per_host" "ports" "TCP ports tried without success on each host"
            "`failed_services` over `failed_hosts`; absent without failed hosts."
            |w, _| ratio(w.failed_services(), w.failed_hosts());
        FailedHostsPerPort "failed_hosts_per_port" "hosts" "hosts tried without success on each TCP port"
            "`failed_services` over `failed_ports`; absent without failed ports."
            |w, _| ratio(w.failed_services(), w.failed_ports());
        FailureRatio "failure_ratio" "ratio" "share of connections that failed"
            "Failed flows over flows begun, at most 1; absent without flows."
            |w, _| ratio(w.failed_flows.min(w.flows.max(1)), w.flows.max(u32::from(w.failed_flows > 0)));
        AbortedFlows "aborted_flows" "flows" "connections reset by their own initiator before any payload"
            "Failed flows that the initiator reset before either side sent payload."
            |w, _| count(w.aborted_flows);
        RefusedFlows "refused_flows" "flows" "refused connections"
            "Failed flows whose first answer was a reset."
            |w, _| count(w.refused_flows);
        ReplyResets "reply_resets" "packets" "resets received in answer"
            "TCP packets with RST from the contacted side; also known where only the kernel's counts are."
            |w, _| count(w.reply_resets);
        StealthServices "stealth_services" "services" "services probed with FIN, NULL or Xmas packets"
            "Distinct (host, port) pairs of TCP flows whose first packet had none of SYN, RST and ACK."
            |w, _| count(w.stealth_services());
        UdpFailedServices "udp_failed_services" "services" "UDP services tried without answer"
            "Distinct (host, port) pairs of UDP flows that nobody answered, or that were refused."
            |w, _| count(w.udp_failed_services());
        UdpFailedHosts "udp_failed_hosts" "hosts" "hosts tried over UDP without answer"
            "Distinct hosts of UDP flows that nobody answered, or that were refused."
            |w, _| count(w.udp_failed_hosts());
        UdpFailedPorts "udp_failed_ports" "ports" "UDP ports tried without answer"
            "Distinct ports of UDP flows that nobody answered, or that were refused, over all hosts."
            |w, _| count(w.udp_failed_ports());
        UdpFailedPortsPerHost "udp_failed_ports_per_host" "ports" "UDP ports tried without answer on each host"
            "`udp_failed_services` over `udp_failed_hosts`; absent without failed hosts."
            |w, _| ratio(w.udp_failed_services(), w.udp_failed_hosts());
        UdpFailedHostsPerPort "udp_failed_hosts_per_port" "hosts" "hosts tried without answer on each UDP port"
            "`udp_failed_services` over `udp_failed_ports`; absent without failed ports."
            |w, _| ratio(w.udp_failed_services(), w.udp_failed_ports());
        EchoHosts "echo_hosts" "hosts" "hosts pinged"
            "Distinct hosts that were sent ICMP or ICMPv6 echo requests."
            |w, _| count(w.echo_hosts());
        Flows "flows" "flows" "connections begun"
            "Flows begun, of any protocol."
            |w, _| count(w.flows);
        SynPackets "syn_packets" "packets" "connection requests"
            "TCP packets with SYN from the initiator, retransmissions included."
            |w, _| count(w.syn_packets);
        PendingHandshakes "pending_handshakes" "packets" "connection requests neither completed nor refused"
            "SYN packets less handshakes completed and less resets received: requests left hanging, retransmissions included."
            |w, _| count(w.syn_packets.saturating_sub(w.handshakes).saturating_sub(w.reply_resets));
        CompletionRatio "completion_ratio" "ratio" "handshakes completed for each connection request"
            "Handshakes completed over SYN packets; absent without SYN packets."
            |w, _| ratio(w.handshakes, w.syn_packets);
        HalfOpenFlows "half_open_flows" "flows" "connections accepted by the other side and then reset instead of acknowledged"
            "Aborted flows beyond the handshakes completed in the window: a lower bound of the half-open ones."
            |w, _| count(w.aborted_flows.saturating_sub(w.handshakes));
        DistinctSources "distinct_sources" "hosts" "different senders"
            "Distinct senders towards a target; absent below 64 packets and for sources."
            |w, _| counted(w.sources());
        PacketsPerSecond "packets_per_second" "packets/s" "packets a second"
            "Packets sent, over the length of the window."
            |w, s| rate(w.packets, s);
        ReplyRatio "reply_ratio" "ratio" "packets back for each one sent"
            "Packets back over packets sent, of any protocol; absent if none was sent."
            |w, _| ratio(w.reply_packets, w.packets);
        UdpPacketsPerSecond "udp_packets_per_second" "packets/s" "UDP packets a second"
            "UDP packets sent, over the length of the window."
            |w, s| rate(w.udp_packets, s);
        UdpReplyRatio "udp_reply_ratio" "ratio" "UDP packets back for each one sent"
            "UDP packets back over UDP packets sent; absent if none was sent."
            |w, _| ratio(w.udp_reply_packets, w.udp_packets);
        BytesPerPacket "bytes_per_packet" "bytes" "bytes a packet"
            "Mean IP length of the packets sent, of any protocol; absent if none was sent."
            |w, _| (w.packets > 0).then(|| w.bytes as f64 / f64::from(w.packets));
        IcmpPacketsPerSecond "icmp_packets_per_second" "packets/s" "ICMP packets a second"
            "ICMP and ICMPv6 packets sent, over the length of the window; of errors only those beyond the packets the sender received lately."
            |w, s| rate(w.icmp_packets, s);
        PacketsPerFlow "packets_per_flow" "packets" "packets for each connection begun"
            "Packets sent over flows begun in the window, a window without beginnings counting as one."
            |w, _| ratio(w.packets, w.flows.max(1));
        MatchingFlows "matching_flows" "flows" "connections of the shape of a failed login"
            "Flow-count rules only: flows of one source to one service that match the rule's `flows` table, within the sliding span."
            |_, _| None;
    }
    Snapshot {
        SnapshotPacketsPerSecond "snapshot_packets_per_second" "packets/s" "packets a second"
            "Packets a second, as told.";
        SnapshotBytesPerSecond "snapshot_bytes_per_second" "bytes/s" "bytes a second"
            "Bytes a second, as told.";
        SnapshotAddresses "snapshot_addresses" "hosts" "different addresses"
            "Different addresses, as told.";
        SnapshotPorts "snapshot_ports" "ports" "different ports"
            "Different destination ports, as told.";
        SnapshotSynPackets "snapshot_syn_packets" "packets" "connection requests"
            "TCP packets that ask for a connection, as told.";
        SnapshotSynShare "snapshot_syn_share" "ratio" "share of connection requests among TCP packets"
            "Connection requests over TCP packets, at most 1; 0 without TCP packets.";
        SnapshotUdpShare "snapshot_udp_share" "ratio" "share of UDP"
            "UDP packets over TCP and UDP packets; 0 without either.";
        SnapshotBytesPerPacket "snapshot_bytes_per_packet" "bytes" "bytes a packet"
            "Bytes over packets; 0 without packets.";
    }
    Beacon {
        BeaconCalls "beacon_calls" "calls" "calls"
            "Calls so far; connections within a second of each other are one.";
        BeaconIntervalSeconds "beacon_interval_seconds" "s" "seconds from call to call"
            "Median of the latest 24 intervals.";
        BeaconDispersion "beacon_dispersion" "ratio" "spread of the intervals"
            "Median absolute deviation of the intervals over their median: half the jitter of an agent that waits evenly.";
        BeaconSkew "beacon_skew" "ratio" "lopsidedness of the intervals"
            "Bowley's skewness of the intervals, absolute: 0 where long and short ones balance, 1 where not.";
        BeaconSizeDispersion "beacon_size_dispersion" "ratio" "spread of the sizes"
            "Median absolute deviation of the payload bytes sent in a call over their median; absent below four ended calls.";
        BeaconMinutes "beacon_minutes" "min" "minutes since the first call"
            "Minutes from the first call to the latest.";
        BeaconCallers "beacon_callers" "hosts" "hosts that call the same service"
            "Inside hosts that called the same address and port within two hours, at most 8.";
    }
    Upload {
        UploadMegabytes "upload_megabytes" "MB" "megabytes sent outwards in a minute"
            "IP bytes the host sent in its running 60-s window.";
        UploadRatio "upload_ratio" "ratio" "bytes sent for each one received"
            "IP bytes sent over IP bytes received in that window.";
        UploadTimesUsual "upload_times_usual" "ratio" "times what the host usually sends in a minute"
            "Bytes sent over the geometric mean of the host's active minutes; absent before 30 of them.";
        UploadDeviations "upload_deviations" "deviations" "standard deviations above the host's habit"
            "Of the binary logarithm of bytes a minute; absent before 30 active minutes.";
    }
    Reflected {
        ReflectedPacketsPerSecond "reflected_packets_per_second" "packets/s" "unasked answers a second"
            "Packets from those ports towards the address, the higher of the running second and of the mean over 10 s.";
        ReflectedBytesPerPacket "reflected_bytes_per_packet" "bytes" "bytes an answer"
            "Mean IP length of those packets.";
        ReflectedReplyRatio "reflected_reply_ratio" "ratio" "packets back for each answer"
            "Packets from the address in the same flows over those packets.";
        Reflectors "reflectors" "hosts" "services answering"
            "Distinct senders of those packets.";
    }
    Reflector {
        AmplifiedMegabytes "amplified_megabytes" "MB" "megabytes answered"
            "IP bytes back to the asking address from that service.";
        AmplificationFactor "amplification_factor" "ratio" "bytes answered for each one asked"
            "IP bytes back over IP bytes sent.";
        AmplifiedQuestionBytes "amplified_question_bytes" "bytes" "bytes a question"
            "Mean IP length of the packets asked.";
    }
    Echoes {
        EchoPairs "echo_pairs" "echoes" "echoes with reply"
            "The lesser of requests and replies.";
        EchoAsymmetry "echo_asymmetry" "ratio" "difference of request and reply"
            "Difference of the mean payload lengths of requests and replies, over the larger: an honest reply returns what was sent.";
        EchoSizes "echo_sizes" "bytes" "spread of lengths"
            "Longest less shortest IP length of requests and replies.";
        EchoUnasked "echo_unasked" "replies" "replies beyond requests"
            "Replies less requests.";
        EchoKilobytes "echo_kilobytes" "kB" "kilobytes carried"
            "Payload of requests and replies together.";
    }
    ArpClaim {
        ArpConflicts "arp_conflicts" "claims" "changes of the claimant"
            "Times the address was claimed by another hardware address than within the minute before.";
        ArpUnsolicited "arp_unsolicited" "replies" "replies nobody asked for"
            "Replies of the hardware address to no question of the last 5 s, announcements of one's own address not counted.";
        ArpMismatched "arp_mismatched" "packets" "packets in another's frames"
            "ARP packets of the hardware address in frames of another one.";
    }
    DhcpServer {
        DhcpServers "dhcp_servers" "servers" "servers on the network"
            "Servers that offered or acknowledged within an hour, at most 8.";
        DhcpContradictions "dhcp_contradictions" "" "contradictions between servers"
            "1 where this server's router or name server differs from that of one heard before it.";
    }
    DhcpClients {
        DhcpClients "dhcp_clients" "clients" "clients asking for an address"
            "Different hardware addresses that sent DISCOVER within a minute, at most 256.";
    }
    Oddities {
        ConflictingFlows "conflicting_flows" "flows" "connections with contradicting segments"
            "TCP flows of the source in which bytes were sent again with other content.";
        OverlappingFlows "overlapping_flows" "flows" "flows with overlapping fragments"
            "Flows of the source with a fragment that overlaps another.";
        TinyFragmentFlows "tiny_fragment_flows" "flows" "flows with tiny fragments"
            "Flows of the source with a fragment too small for any network.";
        TinyFragments "tiny_fragments" "fragments" "tiny fragments"
            "Fragments of the source in one flow in which no packet has 256 bytes of content.";
    }
    HttpRequests {
        HttpRequestsPerSecond "http_requests_per_second" "requests/s" "requests a second"
            "Requests in the running 10 s, over 10.";
        HttpSameTargetShare "http_same_target_share" "ratio" "share of requests for one target"
            "Share of the requests that ask for the same target as the first in the window.";
        HttpErrorShare "http_error_share" "ratio" "share of errors among the answers"
            "Answers with a status of 400 or more over all answers; absent without answers.";
    }
    RemoteCalls {
        RemoteExecutions "remote_executions" "calls" "calls that make a server run something"
            "Service and task creation or start, remote COM activation, WMI methods, registry values.";
        ExecutionServers "execution_servers" "hosts" "servers made to run something"
            "Different servers of those calls, at most 32.";
        SecretCalls "secret_calls" "calls" "calls that read or change secrets"
            "Backup keys, LSA secrets, account and machine passwords.";
        StrangeReplications "strange_replications" "calls" "directory replications by no known controller"
            "drsuapi GetNCChanges and ReplicaAdd of a client that nobody contacted for Kerberos or LDAP within a day.";
        LogonChallenges "logon_challenges" "calls" "challenges of the secure channel"
            "netlogon ServerReqChallenge and ServerAuthenticate.";
        CoercionCalls "coercion_calls" "calls" "calls that make a server log on elsewhere"
            "Printer notifications, encrypting file system and distributed file system calls known to be abused for it.";
        LogsCleared "logs_cleared" "calls" "logs cleared"
            "ClearEventLog.";
        DirectoryQuestions "directory_questions" "operations" "different questions about users, groups and shares"
            "Different operations that list or look up accounts, groups, shares and sessions, at most 32.";
        FirstQuestion "first_question" "" "first question of the day to that server"
            "1 where the client had asked this server nothing of the kind within a day.";
    }
    FanOut {
        AdministeredHosts "administered_hosts" "hosts" "hosts reached by protocols of administration"
            "Different hosts, at most 64.";
    }
    FileChanges {
        FilesOpened "files_opened" "files" "different files opened"
            "Different names opened or created, at most 1024.";
        FilesWritten "files_written" "files" "files written"
            "Openings followed by a write.";
        FilesRenamed "files_renamed" "files" "files renamed or deleted"
            "Requests to rename or delete.";
        RenamesPerFile "renames_per_file" "ratio" "renames for each file written"
            "`files_renamed` over `files_written`, none counting as one.";
        FileMegabytesWritten "file_megabytes_written" "MB" "megabytes written"
            "Bytes of write requests.";
    }
    ModbusClient {
        ModbusRequests "modbus_requests" "requests" "requests"
            "Requests of the client to the server.";
        ModbusExceptions "modbus_exceptions" "answers" "exceptions"
            "Answers that are exceptions.";
        ModbusExceptionShare "modbus_exception_share" "ratio" "share of exceptions among the answers"
            "Exceptions over answers.";
        ModbusUnits "modbus_units" "units" "units addressed"
            "Different unit identifiers in requests.";
        ModbusFunctions "modbus_functions" "functions" "different functions"
            "Different function codes in requests.";
        ModbusAddresses "modbus_addresses" "addresses" "different addresses"
            "Different first addresses in requests, by function, at most 256.";
        ModbusStrangeWrites "modbus_strange_writes" "requests" "writes by a stranger"
            "Requests that change something, to a unit with which the client had fewer than eight successful exchanges within a week.";
    }
    DomainNames {
        DomainNames "domain_names" "names" "different names below the domain in a minute"
            "Different names below the registered domain, in the running 60 s.";
        DomainNamesHour "domain_names_hour" "names" "different names below the domain in an hour"
            "Different names below the registered domain, in the running hour.";
        DomainUncommonShare "domain_uncommon_share" "ratio" "share of queries of uncommon types"
            "Share of the hour's queries whose type is none of A, AAAA, NS, SOA, PTR, SRV, SVCB, HTTPS, DS, DNSKEY.";
        DomainRandomShare "domain_random_share" "ratio" "share of random-looking names"
            "Share of the hour's queries whose longest label below the domain has seven characters or more and looks drawn by lot.";
        DomainNameBytes "domain_name_bytes" "characters" "characters a name"
            "Mean length of the names below the domain, in the hour.";
        DomainAnswerBytes "domain_answer_bytes" "bytes" "bytes an answer"
            "Mean data length of the answer records of a response, in the hour; absent without responses.";
        DomainKilobytesUp "domain_kilobytes_up" "kB" "kilobytes in names"
            "Characters of all names asked below the domain, in the hour.";
        DomainKilobytesDown "domain_kilobytes_down" "kB" "kilobytes in answers"
            "Data of all answer records below the domain, in the hour.";
        DomainListingShare "domain_listing_share" "ratio" "share of answers that are verdicts of a list"
            "Share of the hour's responses with addresses whose addresses all lie in 127.0.0.0/8, by which block lists and reputation services answer (RFC 5782); 0 without any.";
        DomainDays "domain_days" "days" "days since the client first asked below the domain"
            "Days since the first query, as long as none of three days without any lies between.";
    }
    NonexistentDomains {
        NxRandomDomains "nx_random_domains" "domains" "random-looking domains that do not exist"
            "Different registered domains answered with NXDOMAIN whose own label has seven characters or more and looks drawn by lot, in five minutes.";
        NxRandomShare "nx_random_share" "ratio" "share of random-looking ones"
            "`nx_random_domains` over all registered domains answered with NXDOMAIN, in five minutes.";
        NxShare "nx_share" "ratio" "share of answers that no such name exists"
            "NXDOMAIN over all responses, in five minutes.";
        NxRandomDomainsHour "nx_random_domains_hour" "domains" "random-looking domains that do not exist, in an hour"
            "As `nx_random_domains`, in an hour.";
        NxRandomShareHour "nx_random_share_hour" "ratio" "share of random-looking ones, in an hour"
            "As `nx_random_share`, in an hour.";
        NxShareHour "nx_share_hour" "ratio" "share of answers that no such name exists, in an hour"
            "As `nx_share`, in an hour.";
        NxJudgedHour "nx_judged_hour" "domains" "domains that do not exist and could be judged, in an hour"
            "Different registered domains answered with NXDOMAIN whose own label has six characters or more, in an hour; beyond 32 too few, as they are no longer told apart exactly.";
        NxOddsHour "nx_odds_hour" "log odds" "mean log odds that those were drawn and not chosen"
            "Mean over them of the natural logarithm of the odds that an algorithm drew the label, each from −6 to 6, by the classifier of domains (docs/domains.md); absent without any.";
    }
    DrawnDomains {
        DrawnDomainsHour "drawn_domains_hour" "domains" "domains asked for that look drawn by an algorithm"
            "Different registered domains, existing or not, whose label has log odds of 3 or more by the classifier of domains, in an hour.";
        DrawnShareHour "drawn_share_hour" "ratio" "share of all domains asked for"
            "`drawn_domains_hour` over all different registered domains asked for, in an hour.";
    }
    SlowHttp {
        SlowHeads "slow_heads" "connections" "requests whose head does not end"
            "Open connections on which a request began 10 s ago or longer and its head is not complete.";
        SlowBodies "slow_bodies" "connections" "requests whose body does not end"
            "Open connections on which the head of a request with a body came 10 s ago or longer, and neither the whole body nor an answer.";
        SlowReads "slow_reads" "connections" "answers hardly taken"
            "Open connections begun with a receive window below 4,096 bytes, whose answer is not complete 10 s after the request.";
        SlowBytesPerSecond "slow_bytes_per_second" "B/s" "bytes a second on each of them"
            "IP bytes a second of the source's running 60-s window, over its connections held up; absent in the window's first 5 s.";
    }
    SlowHttpTarget {
        SlowConnections "slow_connections" "connections" "requests held up"
            "Open connections of all sources whose request head does not end, or whose answer is hardly taken.";
        SlowSources "slow_sources" "hosts" "sources of them"
            "Different sources of those connections.";
    }
    WrongPort {
        WrongPortKilobytes "wrong_port_kilobytes" "kB" "kilobytes exchanged"
            "Payload of both directions.";
        WrongPortRemoteShell "wrong_port_remote_shell" "" "a protocol to command hosts"
            "1 for SSH, telnet and Remote Desktop, else 0.";
    }
    StrangeDns {
        StrangeDnsPackets "strange_dns_packets" "packets" "packets with data in each direction"
            "The lesser of both directions.";
        StrangeDnsKilobytes "strange_dns_kilobytes" "kB" "kilobytes exchanged"
            "Payload of both directions.";
    }
    BrokenMessages {
        BrokenFlows "broken_flows" "flows" "flows with broken messages"
            "Flows in which the sender broke the rules of a protocol.";
        BrokenKinds "broken_kinds" "kinds" "different rules broken"
            "Different rules broken.";
        BrokenServers "broken_servers" "hosts" "hosts that got them"
            "Different receivers.";
    }
    Overflow {
        CompressionOverflows "compression_overflows" "messages" "compressed SMB messages whose sizes overflow"
            "1 where the offset and size of a compressed SMB message add up to more than can be.";
        SignatureBytes "signature_bytes" "bytes" "bytes of an answer with a signature"
            "Length of a DNS message over TCP that answers a question for a SIG record.";
    }
    SshLogins {
        SshRefusals "ssh_refusals" "refusals" "logins refused"
            "Refusals told by size: wrong passwords, keys not accepted, and the question which methods there are.";
        SshAccepted "ssh_accepted" "logins" "logins accepted"
            "Sessions opened, told by size.";
    }
    SmbLogins {
        SmbRefusals "smb_refusals" "refusals" "logins refused"
            "Session setups refused for a wrong user or password, or because the account is locked or disabled.";
        SmbRefusedUsers "smb_refused_users" "users" "users refused"
            "Different users of those, as NTLM names them, at most 64.";
        SmbRefusedShare "smb_refused_share" "ratio" "share of logins refused"
            "Refusals over refusals and logins accepted.";
    }
    HttpLogins {
        HttpLoginRefusals "http_login_refusals" "refusals" "logins refused"
            "Logins answered with a status of 400, 401, 403, 422, 423 or 429.";
        HttpLoginFormAgain "http_login_form_again" "answers" "logins answered with a page"
            "Logins by form answered with 200 and a page: the form again, as a rule, since who is let in is sent on.";
        HttpLoginRefusedShare "http_login_refused_share" "ratio" "share of logins refused"
            "Refusals and pages over all logins answered.";
        HttpLoginUsers "http_login_users" "users" "users refused"
            "Different users of refusals and pages, at most 64.";
        HttpLoginsPerUser "http_logins_per_user" "logins" "logins refused for each user"
            "Refusals and pages over `http_login_users`.";
    }
    HttpErrors {
        HttpFailedTargets "http_failed_targets" "targets" "different things asked for in vain"
            "Different targets, query included, answered with 400, 403, 404, 405, 406, 414, 500 or 501, at most 64; images, styles, scripts and fonts are not counted.";
        HttpFailedShare "http_failed_share" "ratio" "share of answers that are such errors"
            "Those answers over all answers.";
    }
    AckProbes {
        AckProbePorts "ack_probe_ports" "ports" "ports that got a lone ACK"
            "Different ports below 32,768, at most 64, of flows that began with an ACK and were reset, or not answered, before anything was said.";
    }
    KerberosClient {
        KerberosWeakServices "kerberos_weak_services" "services" "services whose tickets came with RC4"
            "Different services under accounts of users (not host, cifs, ldap and others of computers) for which the client got a ticket encrypted with RC4.";
        KerberosRc4Preferred "kerberos_rc4_preferred" "ratio" "share of tickets asked for with weak encryption first"
            "Share of the tickets of such services in whose request the first encryption type offered was RC4 or DES.";
        KerberosUnprovedUsers "kerberos_unproved_users" "users" "users answered without pre-authentication"
            "Different users for whom the client got a first ticket encrypted with RC4 without proving anything.";
        KerberosUnknownUsers "kerberos_unknown_users" "users" "users that do not exist"
            "Different names answered with `KDC_ERR_C_PRINCIPAL_UNKNOWN`.";
        KerberosRefusedUsers "kerberos_refused_users" "users" "users refused"
            "Different users refused for a wrong password (`KDC_ERR_PREAUTH_FAILED`) or because they are locked or disabled.";
        KerberosRefusedShare "kerberos_refused_share" "ratio" "share of users refused"
            "`kerberos_refused_users` over all users of whom the KDC answered anything but that it wants pre-authentication.";
        KerberosGuesses "kerberos_guesses" "refusals" "wrong passwords for one user"
            "Refusals for a wrong password of the one user with most of them.";
    }
    KerberosDowngrade {
        Rc4DespiteOffer "rc4_despite_offer" "" "RC4 though AES was offered"
            "1 where the client offered AES and the answer is encrypted with RC4.";
        Rc4OnlyOffered "rc4_only_offered" "" "only weaker than AES offered"
            "1 where the client offered no AES.";
        Rc4NewForClient "rc4_new_for_client" "" "by a client that offered AES before"
            "1 where the client offered no AES though its address did within a week.";
        Rc4NewForUser "rc4_new_for_user" "" "for a user with AES before"
            "1 where AES was offered and answers for the same user were encrypted with AES within a week.";
    }
    NameAnswers {
        NamesAnswered "names_answered" "names" "different names answered for"
            "Different names in answers to LLMNR questions.";
    }
    LoginSource {
        LoginFailures "login_failures" "failures" "failed logins"
            "Failed logins in the running 10 min; one at a user that does not exist counts once, on however many lines it is told.";
        LoginFailuresMinute "login_failures_minute" "failures" "failed logins in a minute"
            "As `login_failures`, in the running 60 s.";
        LoginFailuresHour "login_failures_hour" "failures" "failed logins in an hour"
            "As `login_failures`, in the running hour.";
        LoginUsers "login_users" "users" "users tried in vain"
            "Different user names of failed logins in the running 10 min.";
        LoginSuccessRatio "login_success_ratio" "ratio" "share of logins that succeeded"
            "Logins accepted over all, in the running hour.";
        LoginFailuresPerUser "login_failures_per_user" "failures" "failed logins for each user"
            "`login_failures` over `login_users`; absent without names.";
        LoginFailuresBeforeSuccess "login_failures_before_success" "failures" "failed logins before this one succeeded"
            "Failed logins in the running hour, of a source that was let in just now; else absent.";
    }
    LoginAccount {
        AccountFailures "account_failures" "failures" "failed logins to the account"
            "Failed logins by all sources in the running hour.";
        AccountSources "account_sources" "hosts" "sources of them"
            "Different sources of logins to the account, accepted ones included.";
        AccountIsService "account_is_service" "" "an account of software"
            "1 for names of accounts that software has, by list or by habit of naming (`svc-…`), else 0.";
        AccountSuccessRatio "account_success_ratio" "ratio" "share of logins to it that succeeded"
            "Logins accepted over all, in the running hour.";
    }
    LoginService {
        ServiceAttempts "service_attempts" "logins" "logins tried"
            "Logins at the service in the running 10 min, accepted and failed.";
        ServiceSources "service_sources" "hosts" "sources of them"
            "Different sources of these logins.";
        ServiceUsers "service_users" "users" "users tried"
            "Different user names of these logins.";
        ServiceAttemptsPerUser "service_attempts_per_user" "logins" "logins for each user"
            "`service_attempts` over `service_users`; absent without names.";
        ServiceSuccessRatio "service_success_ratio" "ratio" "share of logins that succeeded"
            "Logins accepted over all.";
    }
    LoginName {
        NameCommand "name_command" "probability" "probability that the user name is a command"
            "That the name is a command for a shell, SQL or a script, by the classifier of user names (docs/logins.md).";
        NamePassword "name_password" "probability" "probability that the user name is a password"
            "That the name is a password, by the same classifier.";
    }
    ControllerCall {
        ControllerCalls "controller_calls" "flows" "connections between controllers"
            "Always 1.";
        ControllerOtherPort "controller_other_port" "" "not on the port of Modbus"
            "1 where the contacted port is not one of Modbus.";
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Metric> for &'static str {
    fn from(metric: Metric) -> Self {
        metric.name()
    }
}

impl std::str::FromStr for Metric {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().map(|m| m.name());
        Self::ALL
            .iter()
            .copied()
            .find(|m| m.name() == name)
            .ok_or_else(|| names::unknown("metric", name, known))
    }
}

impl TryFrom<String> for Metric {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_slips_get_a_suggestion() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().as_ref(), Ok(metric));
        }
        assert!("failed_prots".parse::<Metric>().unwrap_err().contains("did you mean `failed_ports`"));
    }

    #[test]
    fn what_was_not_counted_is_absent() {
        let idle = Window::default();
        for metric in [
            Metric::CompletionRatio,
            Metric::UdpReplyRatio,
            Metric::DistinctSources,
            Metric::FailedPortsPerHost,
            Metric::FailureRatio,
        ] {
            assert_eq!(metric.of(&idle, Span::S1), None, "{metric}");
        }
        assert_eq!(Metric::Flows.of(&idle, Span::S1), Some(0.0));
    }
}

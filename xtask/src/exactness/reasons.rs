//! What each attack capture is, and why some incidents are missed or wrong: facts that no replay can find out.

/// An attack capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    /// Path below `pcap/`.
    pub(crate) capture: &'static str,
    /// What happens in it.
    pub(crate) what: &'static str,
    /// Classes of incident that count as recognised.
    pub(crate) classes: &'static [&'static str],
    /// Why it may be missed; without a reason, missing it is a failure.
    pub(crate) missed: Option<&'static str>,
}

const fn attack(
    capture: &'static str,
    what: &'static str,
    classes: &'static [&'static str],
    missed: Option<&'static str>,
) -> Attack {
    Attack { capture, what, classes, missed }
}

/// Every attack capture.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("bruteforce/ssh-bruteforce.pcap", "guessing of SSH passwords on port 902", &["brute_force"], None),
    attack(
        "ddos/amp.UDP.snmp.src161.pcapng",
        "SNMP answers of thousands of reflectors within 24 ms",
        &["amplification", "ddos", "udp_flood"],
        None,
    ),
    attack(
        "ddos/amp.dns.RRSIG.fragmented.pcap",
        "large DNS answers in fragments, 45 packets/s, amid the victim's own traffic",
        &["amplification", "ddos", "udp_flood"],
        None,
    ),
    attack(
        "ddos/pkt.TCP.synflood.spoofed.pcap",
        "SYN flood from forged sources, 1,600 packets/s",
        &["syn_flood", "ddos"],
        None,
    ),
    attack("dns-tunnel/dnscat2-cname.pcap", "dnscat2 in CNAME queries", &["dns_tunnel"], None),
    attack("dns-tunnel/iodine-cname.pcap", "iodine in CNAME queries", &["dns_tunnel"], None),
    attack(
        "ics-modbus-labelled/CnC_uploading_exe_modbus_6RTU_with_operate.pcap",
        "a program sent over a remote shell between two controllers",
        &["c2_beacon", "lateral_movement", "ot_abuse"],
        None,
    ),
    attack(
        "ics-modbus-labelled/characterization_modbus_6RTU_with_operate.pcap",
        "one controller reads every register of another, one by one",
        &["ot_abuse"],
        None,
    ),
    attack(
        "ics-modbus-labelled/moving_two_files_modbus_6RTU.pcap",
        "files moved over two remote shells between controllers",
        &["c2_beacon", "lateral_movement", "ot_abuse"],
        None,
    ),
    attack(
        "lateral/C2_Foudre_Backdoor_DGA.pcapng",
        "a backdoor calls its controller over HTTP",
        &["c2_beacon", "dga", "protocol_anomaly"],
        Some(
            "four requests in one HTTP connection, no DNS in the capture: only the words of the requests tell",
        ),
    ),
    attack(
        "lateral/CA_LM_SpoolSample_SMB_BiAuth.pcapng",
        "the print spooler is told to authenticate elsewhere (SpoolSample)",
        &["credential_access", "lateral_movement"],
        None,
    ),
    attack(
        "lateral/CA_masterkey_rpc_protectedstorage.pcapng",
        "the domain's backup key is asked for over the pipe protected_storage",
        &["credential_access"],
        None,
    ),
    attack(
        "lateral/CVE-2020-0796_SMBGhost_PrivEsc_Loopback_traffic.pcapng",
        "SMBGhost: a compressed message with an impossible size",
        &["lateral_movement", "protocol_anomaly", "evasion"],
        None,
    ),
    attack(
        "lateral/DCShadow_add_primarygroupid_512_to_std_account.pcapng",
        "a workstation registers as domain controller (DCShadow)",
        &["credential_access", "lateral_movement"],
        None,
    ),
    attack(
        "lateral/DE_byt3bl33d3r_remote_eventservice_crash.pcapng",
        "the event log is cleared remotely, which crashes the service",
        &["evasion", "lateral_movement", "dos", "protocol_anomaly"],
        None,
    ),
    attack(
        "lateral/Discovery_dcerp_srvsvc_NetShareEnum.pcapng",
        "shares are listed over the pipe srvsvc",
        &["discovery"],
        None,
    ),
    attack(
        "lateral/Discovery_privgroups_domain_admins_samr_lookupnames_req.pcapng",
        "members of a privileged group are listed over samr",
        &["discovery"],
        None,
    ),
    attack(
        "lateral/Exploit_DoS_cve-2020-1350_dns_sig_maxspl0it.pcapng",
        "SIGRed: a SIG record of 64 kB over TCP",
        &["protocol_anomaly", "dos"],
        None,
    ),
    attack(
        "lateral/LM_dcom_mmc20.application_dcerpc.pcapng",
        "a program started through DCOM (MMC20.Application)",
        &["lateral_movement"],
        None,
    ),
    attack(
        "lateral/LM_rdp_sharprdp.pcapng",
        "commands typed into a remote desktop by a program (SharpRDP)",
        &["lateral_movement"],
        Some(
            "two remote desktop sessions of seconds, encrypted: nothing on the wire tells them from a person's",
        ),
    ),
    attack(
        "lateral/Remote_Pwd_Reset_RPC_Admin_Mimikatz_PostZeroLogon.pcapng",
        "a password is set over samr and a secret over lsarpc",
        &["credential_access", "lateral_movement"],
        None,
    ),
    attack(
        "lateral/lm_mimikazt_skeleton_kerberos_rc4_etype.pcapng",
        "a skeleton key: Kerberos tickets fall back to RC4",
        &["credential_access"],
        None,
    ),
    attack("malware/ustc-tinba.pcap", "a banking trojan asks for 1,000 generated names", &["dga"], None),
    attack("scan/icmp-sweep.pcap", "ping sweep over a network", &["port_scan"], None),
    attack("scan/nmap_80_vanilla.pcap", "nmap on one port of one host", &["port_scan"], None),
    attack(
        "scan/nmap_80_w_service_detection.pcap",
        "nmap on one port of one host, with version detection",
        &["port_scan"],
        None,
    ),
];

/// Beginning of a benign capture's path, class of the incident, and why it is raised.
pub(crate) const BENIGN: &[(&str, &str, &str)] = &[];

//! Names of interfaces that people who administrate, and those who attack, call; from the Microsoft Open Specifications.

/// UUID and name, sorted by UUID.
const INTERFACES: [(&str, &str); 45] = [
    ("00000131-0000-0000-c000-000000000046", "IRemUnknown"),
    ("00000136-0000-0000-c000-000000000046", "ISCMLocalActivator"),
    ("00000143-0000-0000-c000-000000000046", "IRemUnknown2"),
    ("000001a0-0000-0000-c000-000000000046", "IRemoteSCMActivator"),
    ("00020400-0000-0000-c000-000000000046", "IDispatch"),
    ("027947e1-d731-11ce-a357-000000000001", "IEnumWbemClassObject"),
    ("12345678-1234-abcd-ef00-0123456789ab", "spoolss"),
    ("12345678-1234-abcd-ef00-01234567cffb", "netlogon"),
    ("12345778-1234-abcd-ef00-0123456789ab", "lsarpc"),
    ("12345778-1234-abcd-ef00-0123456789ac", "samr"),
    ("17fdd703-1827-4e34-79d4-24a55c53bb37", "msgsvc"),
    ("1ff70682-0a51-30e8-076d-740be8cee98b", "atsvc"),
    ("300f3532-38cc-11d0-a3f0-0020af6b0add", "trkwks"),
    ("338cd001-2244-31f1-aaaa-900038001003", "winreg"),
    ("367abb81-9844-35f1-ad32-98f038001003", "svcctl"),
    ("378e52b0-c0a9-11cf-822d-00aa0051e40f", "sasec"),
    ("3919286a-b10c-11d0-9ba8-00c04fd92ef5", "dssetup"),
    ("3dde7c30-165d-11d1-ab8f-00805f14db40", "BackupKey"),
    ("4b324fc8-1670-01d3-1278-5a47bf6ee188", "srvsvc"),
    ("4d9f4ab8-7d1c-11cf-861e-0020af6e7c57", "IActivation"),
    ("4fc742e0-4a10-11cf-8273-00aa004ae673", "netdfs"),
    ("50abc2a4-574d-40b3-9d66-ee4fd5fba076", "dnsserver"),
    ("5a7b91f8-ff00-11d0-a9b2-00c04fb6e6fc", "msgsvcsend"),
    ("5b821720-f63b-11d0-aad2-00c04fc324db", "dhcpsrv2"),
    ("6bffd098-a112-3610-9833-012892020162", "browser"),
    ("6bffd098-a112-3610-9833-46c3f87e345a", "wkssvc"),
    ("76f03f96-cdfd-44fc-a22c-64950a001209", "IRemoteWinspool"),
    ("82273fdc-e32a-18c3-3f78-827929dc23ea", "eventlog"),
    ("86d35949-83c9-4044-b424-db363231fd0c", "ITaskSchedulerService"),
    ("894de0c0-0d55-11d3-a322-00c04fa321a1", "initshutdown"),
    ("8d9f4e40-a03d-11ce-8f69-08003e30051b", "plugplay"),
    ("9556dc99-828c-11cf-a37e-00aa003240c7", "IWbemServices"),
    ("99fcfec4-5260-101b-bbcb-00aa0021347a", "IObjectExporter"),
    ("a8e0653c-2744-4389-a61d-7373df8b2292", "FileServerVssAgent"),
    ("c681d488-d850-11d0-8c52-00c04fd90f7e", "efsrpc"),
    ("d4781cd6-e5d3-44df-ad94-930efe48a887", "IWbemLoginClientID"),
    ("d95afe70-a6d5-4259-822e-2c84da1ddb0d", "WindowsShutdown"),
    ("df1941c5-fe89-4e79-bf10-463657acf44d", "efsrpc"),
    ("e1af8308-5d1f-11c9-91a4-08002b14a0fa", "epmapper"),
    ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", "drsuapi"),
    ("f309ad18-d86a-11d0-a075-00c04fb68820", "IWbemLevel1Login"),
    ("f5cc59b4-4264-101a-8c59-08002b2f8426", "frsrpc"),
    ("f5cc5a18-4264-101a-8c59-08002b2f8426", "nspi"),
    ("f6beaff7-1e19-4fbb-9f8f-b89e2018337c", "IEventService"),
    ("fdb3a030-065f-11d1-bb9b-00a024ea5525", "qmcomm"),
];

/// What people call the interface with this UUID, in lower case.
#[must_use]
pub fn interface_name(uuid: &str) -> Option<&'static str> {
    let at = INTERFACES.binary_search_by(|(known, _)| (*known).cmp(uuid)).ok()?;
    INTERFACES.get(at).map(|(_, name)| *name)
}

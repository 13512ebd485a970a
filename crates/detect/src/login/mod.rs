//! Logins beyond single lines: what a user name is, and judgements of summaries made elsewhere.

mod names;
mod summary;

pub use names::{Name, NameKind, NameReading, Names, SERVICE_ACCOUNTS, is_odd, is_plain, is_service_account};
pub use summary::{LoginSummary, SummaryJudge};

//! Times as logs write them.

/// What a reader of logs knows of the time: many lines state neither year nor zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now, ns since 1970.
    pub now_ns: u64,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset_s: i32,
}

const SECOND_NS: u64 = 1_000_000_000;
/// How far in the future a time without a year may lie before it is taken for one of last year: clocks differ by a
/// little, and zones by up to 14 h where the log was written elsewhere.
const TOLERANCE_S: i64 = 86_400;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Days since 1970-01-01 of a date in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year of a time in seconds since 1970.
const fn year_of(seconds: i64) -> i64 {
    let z = seconds.div_euclid(86_400) + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    year_of_era + era * 400 + if month >= 10 { 1 } else { 0 }
}

/// A cursor over the bytes of a time.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let len = self.0.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        if len < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == wanted).then_some(())
    }

    fn month(&mut self) -> Option<i64> {
        let name = self.0.get(..3)?;
        let at = MONTHS.iter().position(|m| m.as_slice() == name)?;
        self.0 = self.0.get(3..)?;
        Some(at as i64 + 1)
    }

    /// `hh:mm:ss` as seconds; a leap second counts as the one before.
    fn of_day(&mut self) -> Option<i64> {
        let h = self.number(2, 2)?;
        self.byte(b':')?;
        let m = self.number(2, 2)?;
        self.byte(b':')?;
        let s = self.number(2, 2)?;
        (h < 24 && m < 60 && s < 61).then_some(h * 3600 + m * 60 + s.min(59))
    }

    /// `.` and digits, if there are any: ns.
    fn fraction(&mut self) -> u64 {
        let Some((b'.' | b',', rest)) = self.0.split_first() else { return 0 };
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(len);
        self.0 = rest;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        padded.fold(0, |n, d| n * 10 + u64::from(d - b'0'))
    }

    /// `Z`, `+hh:mm` or `+hhmm`: seconds ahead of UTC.
    fn zone(&mut self) -> Option<i64> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let h = self.number(2, 2)?;
        if self.0.first() == Some(&b':') {
            self.byte(b':')?;
        }
        let m = self.number(2, 2)?;
        (h < 24 && m < 60).then_some(sign * (h * 3600 + m * 60))
    }
}

/// ns since 1970, if it is after that and representable.
fn nanos(seconds: i64, fraction_ns: u64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(SECOND_NS)?.checked_add(fraction_ns)
}

fn date(year: i64, month: i64, day: i64) -> Option<i64> {
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day) * 86_400)
}

/// `Dec 10 06:55:46`, local, without a year (RFC 3164 §4.1.2): the latest such time that is not in the future. Returns
/// the time and what follows it.
pub(crate) fn bsd<'a>(text: &'a [u8], clock: &Clock) -> Option<(u64, &'a [u8])> {
    let mut scan = Scan(text);
    let month = scan.month()?;
    scan.byte(b' ')?;
    if scan.0.first() == Some(&b' ') {
        scan.byte(b' ')?;
    }
    let day = scan.number(1, 2)?;
    scan.byte(b' ')?;
    let of_day = scan.of_day()?;
    let local_now = (clock.now_ns / SECOND_NS) as i64 + i64::from(clock.utc_offset_s);
    let year = year_of(local_now);
    let in_year = |year| date(year, month, day).map(|d| d + of_day);
    let mut local = in_year(year)?;
    if local > local_now + TOLERANCE_S {
        local = in_year(year - 1)?;
    }
    Some((nanos(local - i64::from(clock.utc_offset_s), 0)?, scan.0))
}

/// `2026-11-21T19:53:20.123+00:00` (RFC 3339). Returns the time and what follows it.
pub(crate) fn iso(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut scan = Scan(text);
    let year = scan.number(4, 4)?;
    scan.byte(b'-')?;
    let month = scan.number(2, 2)?;
    scan.byte(b'-')?;
    let day = scan.number(2, 2)?;
    scan.byte(b'T')?;
    let of_day = scan.of_day()?;
    let fraction = scan.fraction();
    let zone = scan.zone()?;
    Some((nanos(date(year, month, day)? + of_day - zone, fraction)?, scan.0))
}

/// A time in whole, in any of the forms that servers write: RFC 3339, `21/Nov/2026:19:53:20 +0000` (Common Log Format),
/// `2026/11/21 19:53:20` (nginx, local), `Sat Nov 21 19:53:20.123456 2026` (Apache, vsftpd; local), or RFC 3164.
pub(crate) fn any(text: &[u8], clock: &Clock) -> Option<u64> {
    let whole = |(at, rest): (u64, &[u8])| rest.is_empty().then_some(at);
    iso(text)
        .and_then(whole)
        .or_else(|| common(text))
        .or_else(|| slashes(text, clock))
        .or_else(|| asctime(text, clock))
        .or_else(|| bsd(text, clock).and_then(whole))
}

fn common(text: &[u8]) -> Option<u64> {
    let mut scan = Scan(text);
    let day = scan.number(2, 2)?;
    scan.byte(b'/')?;
    let month = scan.month()?;
    scan.byte(b'/')?;
    let year = scan.number(4, 4)?;
    scan.byte(b':')?;
    let of_day = scan.of_day()?;
    scan.byte(b' ')?;
    let zone = scan.zone()?;
    nanos(date(year, month, day)? + of_day - zone, 0)
}

fn slashes(text: &[u8], clock: &Clock) -> Option<u64> {
    let mut scan = Scan(text);
    let year = scan.number(4, 4)?;
    scan.byte(b'/')?;
    let month = scan.number(2, 2)?;
    scan.byte(b'/')?;
    let day = scan.number(2, 2)?;
    scan.byte(b' ')?;
    let of_day = scan.of_day()?;
    nanos(date(year, month, day)? + of_day - i64::from(clock.utc_offset_s), 0)
}

fn asctime(text: &[u8], clock: &Clock) -> Option<u64> {
    let mut scan = Scan(text.get(4..)?);
    let month = scan.month()?;
    scan.byte(b' ')?;
    if scan.0.first() == Some(&b' ') {
        scan.byte(b' ')?;
    }
    let day = scan.number(1, 2)?;
    scan.byte(b' ')?;
    let of_day = scan.of_day()?;
    let fraction = scan.fraction();
    scan.byte(b' ')?;
    let year = scan.number(4, 4)?;
    nanos(date(year, month, day)? + of_day - i64::from(clock.utc_offset_s), fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 19:53:20 UTC.
    const NOW: u64 = 1_795_290_800;

    fn clock(utc_offset_s: i32) -> Clock {
        Clock { now_ns: NOW * SECOND_NS, utc_offset_s }
    }

    #[test]
    fn every_form_is_read() {
        for (text, offset, expected_s) in [
            ("2026-11-21T19:53:20+00:00", 0, Some(NOW)),
            ("2026-11-21T20:53:20.000+01:00", 0, Some(NOW)),
            ("2026-11-21T19:53:20Z", 7200, Some(NOW)),
            ("21/Nov/2026:19:53:20 +0000", 3600, Some(NOW)),
            ("21/Nov/2026:14:53:20 -0500", 0, Some(NOW)),
            ("2026/11/21 20:53:20", 3600, Some(NOW)),
            ("Sat Nov 21 19:53:20.000000 2026", 0, Some(NOW)),
            ("Sat Nov 21 19:53:20 2026", 0, Some(NOW)),
            ("Nov 21 19:53:20", 0, Some(NOW)),
            ("Nov 21 20:53:20", 3600, Some(NOW)),
            ("Feb 29 00:00:00", 0, Some(1_772_323_200)),
            ("1960-01-01T00:00:00Z", 0, None),
            ("9999-12-31T23:59:59Z", 0, None),
            ("2026-13-01T00:00:00Z", 0, None),
            ("21/Nov/2026:24:00:00 +0000", 0, None),
            ("", 0, None),
            ("\u{feff}Nov", 0, None),
        ] {
            assert_eq!(any(text.as_bytes(), &clock(offset)).map(|ns| ns / SECOND_NS), expected_s, "{text}");
        }
    }

    #[test]
    fn without_a_year_a_time_is_never_far_in_the_future() {
        for (text, expected_year) in [
            ("Nov 22 10:00:00", 2026),
            ("Nov 23 10:00:00", 2025),
            ("Dec 31 23:59:59", 2025),
            ("Jan  1 00:00:00", 2026),
        ] {
            let (at, rest) = bsd(text.as_bytes(), &clock(0)).unwrap();
            assert_eq!(year_of((at / SECOND_NS) as i64), expected_year, "{text}");
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn fractions_are_kept() {
        let (at, rest) = iso(b"2026-11-21T19:53:20.123456+00:00 host").unwrap();
        assert_eq!(at, NOW * SECOND_NS + 123_456_000);
        assert_eq!(rest, b" host");
    }
}

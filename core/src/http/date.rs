//! Wall clock times as text.

use time::OffsetDateTime;

use crate::time::UnixTime;

/// Returns `time` as an IMF-fixdate (RFC 9110 section 5.6.7), for the Date field.
pub fn http_date(time: UnixTime) -> String {
    String::from_utf8_lossy(&http_date_bytes(time)).into_owned()
}

/// Returns what [`http_date`] does, without an allocation.
pub fn http_date_bytes(time: UnixTime) -> [u8; 29] {
    let date = utc(time);
    let weekday: &[u8; 3] = match date.weekday() {
        time::Weekday::Monday => b"Mon",
        time::Weekday::Tuesday => b"Tue",
        time::Weekday::Wednesday => b"Wed",
        time::Weekday::Thursday => b"Thu",
        time::Weekday::Friday => b"Fri",
        time::Weekday::Saturday => b"Sat",
        time::Weekday::Sunday => b"Sun",
    };
    let (year, month, day) = date.to_calendar_date();
    let month: &[u8; 3] = match month {
        time::Month::January => b"Jan",
        time::Month::February => b"Feb",
        time::Month::March => b"Mar",
        time::Month::April => b"Apr",
        time::Month::May => b"May",
        time::Month::June => b"Jun",
        time::Month::July => b"Jul",
        time::Month::August => b"Aug",
        time::Month::September => b"Sep",
        time::Month::October => b"Oct",
        time::Month::November => b"Nov",
        time::Month::December => b"Dec",
    };
    let (hour, minute, second) = date.to_hms();
    // Written out by hand: it stands in every answer.
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(weekday);
    digits(&mut text[5..7], day.into());
    text[8..11].copy_from_slice(month);
    digits(&mut text[12..16], year.unsigned_abs());
    digits(&mut text[17..19], hour.into());
    digits(&mut text[20..22], minute.into());
    digits(&mut text[23..25], second.into());
    text
}

/// Fills `text` with the last decimal digits of `number`.
fn digits(text: &mut [u8], mut number: u32) {
    for place in text.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads an IMF-fixdate (RFC 9110 section 5.6.7), the form that everybody writes; of the day of the week
/// only its length counts. `None` for everything else.
pub fn parse_http_date(text: &str) -> Option<UnixTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let rest = text.get(3..)?.strip_prefix(", ")?.strip_suffix(" GMT")?;
    let mut parts = rest.split(' ');
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mut clock_parts = clock.split(':');
    let (hour, minute, second) = (clock_parts.next()?, clock_parts.next()?, clock_parts.next()?);
    if parts.next().is_some() || clock_parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let two = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() == 2);
    let month = MONTHS.iter().position(|known| *known == month)?;
    let month = time::Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year.parse().ok()?, month, two(day)?).ok()?;
    let date = date.with_hms(two(hour)?, two(minute)?, two(second)?).ok()?;
    let seconds = u64::try_from(date.assume_utc().unix_timestamp()).ok()?;
    Some(UnixTime::from_secs(seconds))
}

/// Returns `time` in UTC with milliseconds (RFC 3339 section 5.6), for logs.
pub fn rfc3339(time: UnixTime) -> String {
    String::from_utf8_lossy(&rfc3339_bytes(time)).into_owned()
}

/// Returns what [`rfc3339`] does, without an allocation.
pub fn rfc3339_bytes(time: UnixTime) -> [u8; 24] {
    let date = utc(time);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second, milli) = date.to_hms_milli();
    // By hand too: it begins every line of the log.
    let mut text = *b"1970-01-01T00:00:00.000Z";
    digits(&mut text[..4], year.unsigned_abs());
    digits(&mut text[5..7], month.into());
    digits(&mut text[8..10], day.into());
    digits(&mut text[11..13], hour.into());
    digits(&mut text[14..16], minute.into());
    digits(&mut text[17..19], second.into());
    digits(&mut text[20..23], milli.into());
    text
}

/// The calendar date; both formats end with the year 9999, and so does it.
fn utc(time: UnixTime) -> OffsetDateTime {
    /// 9999-12-31T23:59:59Z.
    const LAST: i64 = 253_402_300_799;
    let seconds = i64::try_from(time.as_secs()).map_or(LAST, |seconds| seconds.min(LAST));
    let whole = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let fraction = time.since_epoch().subsec_nanos();
    whole.replace_nanosecond(fraction).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn m18_dates_are_read_as_they_are_written() {
        for seconds in [0, 784_111_777, 1_709_164_800, 253_402_300_799] {
            let time = UnixTime::from_secs(seconds);
            assert_eq!(parse_http_date(&http_date(time)), Some(time));
        }
        for text in [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 x GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Thu, 01 Jan 1960 00:00:00 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "S\u{e4}n, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn dates_as_text() {
        // The example of RFC 9110 section 5.6.7.
        assert_eq!(
            http_date(UnixTime::from_secs(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(http_date(UnixTime::default()), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            rfc3339(UnixTime::new(Duration::from_millis(1_709_164_800_007))),
            "2024-02-29T00:00:00.007Z"
        );
        assert_eq!(rfc3339(UnixTime::from_secs(u64::MAX)), "9999-12-31T23:59:59.000Z");
        assert_eq!(
            http_date(UnixTime::from_secs(u64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }
}

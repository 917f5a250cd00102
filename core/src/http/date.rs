//! Wall clock times as text.

use time::OffsetDateTime;

use crate::time::UnixTime;

/// Returns `time` as an IMF-fixdate (RFC 9110 section 5.6.7), for the Date field.
pub fn http_date(time: UnixTime) -> String {
    let date = utc(time);
    let weekday = match date.weekday() {
        time::Weekday::Monday => "Mon",
        time::Weekday::Tuesday => "Tue",
        time::Weekday::Wednesday => "Wed",
        time::Weekday::Thursday => "Thu",
        time::Weekday::Friday => "Fri",
        time::Weekday::Saturday => "Sat",
        time::Weekday::Sunday => "Sun",
    };
    let month = match date.month() {
        time::Month::January => "Jan",
        time::Month::February => "Feb",
        time::Month::March => "Mar",
        time::Month::April => "Apr",
        time::Month::May => "May",
        time::Month::June => "Jun",
        time::Month::July => "Jul",
        time::Month::August => "Aug",
        time::Month::September => "Sep",
        time::Month::October => "Oct",
        time::Month::November => "Nov",
        time::Month::December => "Dec",
    };
    let (day, year) = (date.day(), date.year());
    let (hour, minute, second) = date.to_hms();
    // Written out by hand: it stands in every answer.
    let mut text = String::with_capacity("Thu, 01 Jan 1970 00:00:00 GMT".len());
    text.push_str(weekday);
    text.push_str(", ");
    digits(&mut text, 2, day.into());
    text.push(' ');
    text.push_str(month);
    text.push(' ');
    digits(&mut text, 4, year.unsigned_abs());
    for (before, part) in [(' ', hour), (':', minute), (':', second)] {
        text.push(before);
        digits(&mut text, 2, part.into());
    }
    text.push_str(" GMT");
    text
}

/// Appends the last `count` decimal digits of `number`.
fn digits(text: &mut String, count: u32, number: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
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
    let date = utc(time);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second, milli) = date.to_hms_milli();
    // By hand too: it begins every line of the log.
    let mut text = String::with_capacity("1970-01-01T00:00:00.000Z".len());
    digits(&mut text, 4, year.unsigned_abs());
    let rest = [
        ('-', 2, month.into()),
        ('-', 2, day.into()),
        ('T', 2, hour.into()),
        (':', 2, minute.into()),
        (':', 2, second.into()),
        ('.', 3, milli.into()),
    ];
    for (before, count, part) in rest {
        text.push(before);
        digits(&mut text, count, part);
    }
    text.push('Z');
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

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

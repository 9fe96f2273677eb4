//! Sizes and times: bytes internally, GiB in manifests, binary units in output.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One GiB (2^30 bytes), the unit of `sizeGB`, `sizeGiB` and `memoryGiB`.
pub const GIB: u64 = 1 << 30;

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, JsonSchema, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Converts whole GiB. Returns `None` if libvirt and QEMU cannot address that many bytes (more than 2^63 - 1, a
    /// signed file offset).
    pub fn from_gib(gib: u64) -> Option<Self> {
        gib.checked_mul(GIB).filter(|b| *b <= i64::MAX as u64).map(Self)
    }

    /// Returns the size in KiB, libvirt's unit for memory, rounded down.
    pub fn to_kib(self) -> u64 {
        self.0 / 1024
    }

    /// Adds two sizes; a sum that is too large becomes the maximum.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Bytes {
    /// Writes the size in the largest unit that gives at least 1, with one decimal unless it is 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let unit = (0..UNITS.len() - 1).take_while(|i| self.0 >> (10 * (i + 1)) > 0).count();
        #[allow(clippy::cast_precision_loss, reason = "one decimal is shown, 53 bits are plenty")]
        let value = self.0 as f64 / (1u64 << (10 * unit)) as f64;
        let text = format!("{value:.1}");
        write!(f, "{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
    }
}

/// A size that a user requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeRequest {
    /// The total size.
    To(Bytes),
    /// The size to add to the present one.
    By(Bytes),
}

impl FromStr for SizeRequest {
    type Err = String;

    /// Reads `20GiB`, `20Gi`, `20G`, the same with `T`, and a plain number of GiB, the unit of `sizeGB` and `sizeGiB`
    /// in a manifest. A leading `+` means an increment. QEMU and libvirt read `G` as GiB too.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('+') {
            Some(more) => parse_whole_gib(more, text).map(Self::By),
            None => parse_whole_gib(text, text).map(Self::To),
        }
    }
}

fn parse_whole_gib(size: &str, text: &str) -> Result<Bytes, String> {
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = size.split_at(digits);
    let of_gib = match unit.trim_start() {
        "" | "G" | "Gi" | "GiB" => 1,
        "T" | "Ti" | "TiB" => 1024,
        "GB" | "TB" => {
            return Err(format!(
                "'{text}' is ambiguous (powers of 1000 or 1024); write {number}{}iB",
                &unit.trim_start()[..1]
            ));
        }
        _ => {
            return Err(format!(
                "'{text}' is not a size; write whole GiB: 20GiB, 20G or 20; to grow by an amount, +5GiB"
            ));
        }
    };
    let gib: u64 = number.parse().map_err(|_| format!("'{text}' is not a size; write 20GiB or +5GiB"))?;
    if gib == 0 {
        return Err("a disk has at least 1 GiB".into());
    }
    gib.checked_mul(of_gib)
        .and_then(Bytes::from_gib)
        .ok_or_else(|| format!("'{text}' is larger than a disk can be"))
}

/// The longest duration that is accepted. Clocks can add it without overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Formats seconds since 1970 as RFC 3339. A time that no clock shows, as a foreign hand may write it, is `-`.
pub fn format_epoch(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Reads `90s`, `5m`, `1h30m`, or a number of seconds.
///
/// # Errors
/// Any other text, and a duration of more than 30 days.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write 90s, 5m or 1h30m");
    let time = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(span).map_err(|_| wrong())?
    };
    if time > LONGEST { Err(format!("'{text}' is longer than 30 days")) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "soon", "-5s", "5 parsecs"] {
            parse_duration(wrong).unwrap_err();
        }
        assert_eq!(parse_duration("720h"), Ok(LONGEST));
        for long in ["721h", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(parse_duration(long), Err(format!("'{long}' is longer than 30 days")));
        }
    }

    #[test]
    fn sizes_must_be_whole_gib() {
        let to = |n| Ok(SizeRequest::To(Bytes(n * GIB)));
        for text in ["20", "20G", "20Gi", "20GiB", "20 GiB"] {
            assert_eq!(text.parse(), to(20), "{text}");
        }
        assert_eq!("2T".parse(), to(2048));
        assert_eq!("+5GiB".parse(), Ok(SizeRequest::By(Bytes(5 * GIB))));
        for wrong in
            ["", "+", "G", "-5", "0", "+0G", "1.5G", "20M", "20g", "++5", "20GiBs", "9999999999T", "٣"]
        {
            wrong.parse::<SizeRequest>().unwrap_err();
        }
        let ambiguous = "+20GB".parse::<SizeRequest>();
        assert_eq!(ambiguous, Err("'+20GB' is ambiguous (powers of 1000 or 1024); write 20GiB".into()));
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        let shown = |b| Bytes(b).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(GIB / 2), "512 MiB");
        assert_eq!(shown(GIB * 3 / 2), "1.5 GiB");
        assert_eq!(shown(50 * GIB), "50 GiB");
        assert_eq!(shown(u64::MAX), "16 EiB");
    }

    #[test]
    fn gib_cannot_overflow() {
        assert_eq!(Bytes::from_gib(2), Some(Bytes(2 << 30)));
        assert_eq!(Bytes::from_gib(1 << 33), None);
        assert_eq!(Bytes::from_gib(u64::MAX), None);
    }
}

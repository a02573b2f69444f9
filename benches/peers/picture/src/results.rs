//! The file: a line for each contestant, with fields between tabs.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

/// The results of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The day of the run, as 2026-11-22.
    pub date: String,
    /// The algorithm of the tokens.
    pub token: String,
    pub machine: String,
    pub rows: Vec<Row>,
}

/// The results of one contestant. `None` is not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub kind: Kind,
    /// Time of a request, divided by that of the limit.
    pub ratio: Option<f64>,
    pub allocations: Option<f64>,
    /// Requests per second over sockets.
    pub per_second: Option<f64>,
    pub name: String,
    /// Invalid tokens that it accepts.
    pub accepts: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A route without a check, or with one signature check only.
    Bound,
    Ours,
    Peer,
}

const HEADER: &str = "\
# The results of the last full run of `benches/peers/run`, which writes this file. `benches/peers/run --draw` draws
# benches/performance.svg from it. Fields are between tabs; `-` is not measured.
";
const COLUMNS: &str = "# kind\t× limit\tallocations\trequests/s\tcontestant\taccepts wrongly";

impl Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, token, machine, rows } = self;
        writeln!(f, "{HEADER}date\t{date}\ntoken\t{token}\nmachine\t{machine}\n{COLUMNS}")?;
        for Row { kind, ratio, allocations, per_second, name, accepts } in rows {
            let ratio = ratio.map_or("-".to_owned(), three_digits);
            let (allocations, per_second) = (whole(*allocations), whole(*per_second));
            let line = format!("{kind}\t{ratio}\t{allocations}\t{per_second}\t{name}\t{accepts}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn whole(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.0}"))
}

/// Writes a ratio as the tables have it.
pub(crate) fn three_digits(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

impl FromStr for Results {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut results = Self { date: String::new(), token: String::new(), machine: String::new(), rows: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                _ if line.is_empty() || line.starts_with('#') => {}
                ["date", text] => text.clone_into(&mut results.date),
                ["token", text] => text.clone_into(&mut results.token),
                ["machine", text] => text.clone_into(&mut results.machine),
                _ => results.rows.push(row(&fields).map_err(|mistake| format!("line {}: {mistake}", index + 1))?),
            }
        }
        if results.date.is_empty() || results.rows.is_empty() {
            return Err("the results have no date or no contestant".to_owned());
        }
        Ok(results)
    }
}

fn row(fields: &[&str]) -> Result<Row, String> {
    let [kind, ratio, allocations, per_second, name, ref accepts @ ..] = *fields else {
        return Err("a contestant has five or six fields".to_owned());
    };
    Ok(Row {
        kind: kind.parse()?,
        ratio: parse(ratio)?,
        allocations: parse(allocations)?,
        per_second: parse(per_second)?,
        name: name.to_owned(),
        accepts: accepts.join(" "),
    })
}

fn parse(field: &str) -> Result<Option<f64>, String> {
    if field == "-" {
        return Ok(None);
    }
    let number = field.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.map(Some).ok_or_else(|| format!("{field:?} is not a number"))
}

const KINDS: [(Kind, &str); 3] = [(Kind::Bound, "bound"), (Kind::Ours, "ours"), (Kind::Peer, "peer")];

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find_map(|(kind, name)| (kind == self).then_some(*name));
        f.write_str(name.unwrap_or_default())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = KINDS.iter().find_map(|(kind, name)| (*name == text).then_some(*kind));
        kind.ok_or_else(|| format!("{text:?} is not a kind of contestant"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let stored = std::fs::read_to_string(crate::RESULTS).expect("the file is there");
        let results: Results = stored.parse().expect("the file is correct");
        assert_eq!(results.to_string(), stored);
        assert_eq!(results.rows.iter().filter(|row| row.kind == Kind::Bound).count(), 2);
    }

    #[test]
    fn reports_the_line_of_a_mistake() {
        let row = "peer\t1.50\t-\t-\tsome crate";
        assert!(format!("date\t2026-11-22\n{row}").parse::<Results>().is_ok());
        for (text, mistake) in [
            (row.to_owned(), "no date"),
            ("date\t2026-11-22".to_owned(), "no contestant"),
            (format!("{row}\npeer\t1.50"), "line 2: a contestant has five or six fields"),
            (row.replace("1.50", "fast"), "line 1: \"fast\" is not a number"),
            (row.replace("1.50", "NaN"), "line 1: \"NaN\" is not a number"),
            (row.replace("peer", "other"), "line 1: \"other\" is not a kind"),
        ] {
            let error = text.parse::<Results>().expect_err(mistake);
            assert!(error.contains(mistake), "{error}");
        }
    }
}

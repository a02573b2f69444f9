//! The description of a scope, from the lines of its doc comment.
//!
//! *In*: the lines, at compile time. *Out*: one text. [`scopes!`](crate::scopes) calls this.

/// Returns the length of the description in bytes.
#[must_use]
pub const fn description_length(lines: &[&str]) -> usize {
    let (mut rest, mut length) = (lines, 0);
    while let [line, others @ ..] = rest {
        let line = line.trim_ascii().len();
        if line > 0 {
            let space = if length == 0 { 0 } else { 1 };
            length += space + line;
        }
        rest = others;
    }
    length
}

/// Returns the lines without the empty ones, separated by single spaces. `N` is their
/// [`description_length`].
#[must_use]
pub const fn description_bytes<const N: usize>(lines: &[&str]) -> [u8; N] {
    let mut bytes = [b' '; N];
    let (mut rest, mut free): (_, &mut [u8]) = (lines, &mut bytes);
    while let [line, others @ ..] = rest {
        let line = line.trim_ascii().as_bytes();
        if !line.is_empty() {
            let Some((place, after)) = free.split_at_mut_checked(line.len()) else { break };
            place.copy_from_slice(line);
            free = match after {
                [_, after @ ..] => after,
                [] => &mut [],
            };
        }
        rest = others;
    }
    bytes
}

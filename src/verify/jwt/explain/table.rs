//! The explanation as a table.

use std::fmt;

use super::{Check, Explanation, SuitablePreset};
use crate::error::quoted;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Check) -> &str| {
            self.checks.iter().map(|check| column(check).chars().count()).max().unwrap_or_default().clamp(8, 60)
        };
        let (name, found) = (width(|check| check.name), width(|check| &check.found));
        writeln!(f, "{:<name$}  {:<7}  {:<found$}  expected", "check", "result", "found")?;
        for check in &self.checks {
            let result = if check.is_passed() { "ok" } else { "REFUSED" };
            writeln!(f, "{:<name$}  {result:<7}  {:<found$}  {}", check.name, check.found, check.expected)?;
        }
        writeln!(f)?;
        if self.is_accepted() {
            writeln!(f, "The token is accepted.")?;
        } else {
            let mut reasons: Vec<_> = self.failed().filter_map(Check::reason).collect();
            reasons.dedup();
            writeln!(f, "The token is refused: {}.", reasons.join(", "))?;
        }
        for check in self.failed() {
            writeln!(f, "\n{}: one of these changes makes the token pass this check:", check.name)?;
            for cure in &check.cures {
                writeln!(f, "  - {cure}")?;
                if !cure.cost().is_empty() {
                    writeln!(f, "    the cost: {}", cure.cost())?;
                }
            }
        }
        if !self.presets.is_empty() {
            writeln!(
                f,
                "\nPresets that accept the token's type and claims. Use one only if it is that of your provider:"
            )?;
            for SuitablePreset { preset, acts_for } in &self.presets {
                writeln!(f, "  - {preset} (the token then acts for: {acts_for:?})")?;
            }
        }
        if let Some(acts_for) = self.acts_for {
            writeln!(f, "\nThe token acts for: {acts_for:?}. Its scopes: {}", quoted(&self.scopes.join(" ")))?;
        }
        Ok(())
    }
}

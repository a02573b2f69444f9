//! Checks of the repository: floors, names, exports, the ledger, the security guide.

mod floors;
mod ledger;
mod names;
mod root;
mod weakened_checks;

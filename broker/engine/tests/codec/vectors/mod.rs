//! The table of annotated bytes ↔ packets. It drives decode, encode, every truncation and the
//! corpus of the fuzzers.

mod acknowledgement;
mod connack;
mod connect;
mod publish;
mod session;
mod subscribe;

use crate::vector::Vector;

/// Every row.
pub fn vectors() -> Vec<Vector> {
    let mut all = connect::vectors();
    all.extend(connack::vectors());
    all.extend(publish::vectors());
    all.extend(acknowledgement::vectors());
    all.extend(subscribe::vectors());
    all.extend(session::vectors());
    all
}

//! Latency histogram and per-stream delivery tracking (loss, duplicates, order).

use serde_json::{json, Value};
use std::collections::VecDeque;

/// Log-linear histogram of nanoseconds: 128 buckets per power of two (error < 0.8 %).
pub struct Hist {
    counts: Vec<u64>,
    pub count: u64,
    sum: u128,
    max: u64,
}

const SUB: u32 = 7;

impl Hist {
    pub fn new() -> Self {
        Hist { counts: vec![0; (64 - SUB as usize + 1) << SUB], count: 0, sum: 0, max: 0 }
    }

    #[inline]
    fn index(v: u64) -> usize {
        let shift = (63 - (v | 1).leading_zeros()).saturating_sub(SUB);
        ((shift as usize) << SUB) + (v >> shift) as usize
    }

    /// Upper edge of bucket `i`.
    fn value(i: usize) -> u64 {
        let shift = (i >> SUB).saturating_sub(1);
        let base = (i - (shift << SUB)) as u64;
        ((base + 1) << shift).wrapping_sub(1)
    }

    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[Self::index(ns)] += 1;
        self.count += 1;
        self.sum += ns as u128;
        self.max = self.max.max(ns);
    }

    pub fn quantile(&self, q: f64) -> u64 {
        let want = ((self.count as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, c) in self.counts.iter().enumerate() {
            seen += c;
            if seen >= want {
                return Self::value(i).min(self.max);
            }
        }
        self.max
    }

    pub fn json_us(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let us = |ns: u64| round(ns as f64 / 1e3, 1);
        json!({
            "count": self.count,
            "mean": round(self.sum as f64 / self.count as f64 / 1e3, 1),
            "p50": us(self.quantile(0.50)),
            "p95": us(self.quantile(0.95)),
            "p99": us(self.quantile(0.99)),
            "p99_9": us(self.quantile(0.999)), "max": us(self.max),
        })
    }
}

pub fn round(v: f64, digits: i32) -> f64 {
    let k = 10f64.powi(digits);
    (v * k).round() / k
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub enum Seen {
    InOrder,
    /// First time, but a later message of the stream came before it.
    Late,
    Duplicate,
}

/// Which sequence numbers of one stream (publisher, topic) have arrived at one receiver.
#[derive(Default)]
pub struct Tracker {
    base: u64,           // everything below has arrived
    next: u64,           // one past the highest arrived
    bits: VecDeque<u64>, // arrivals from `base` on; empty while nothing is missing
}

impl Tracker {
    #[inline]
    pub fn see(&mut self, seq: u64) -> Seen {
        if seq == self.base && self.bits.is_empty() {
            self.base += 1;
            self.next = self.base;
            return Seen::InOrder;
        }
        self.see_slow(seq)
    }

    fn see_slow(&mut self, seq: u64) -> Seen {
        if seq < self.base {
            return Seen::Duplicate;
        }
        let (word, bit) = (((seq - self.base) / 64) as usize, (seq - self.base) % 64);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] >> bit & 1 == 1 {
            return Seen::Duplicate;
        }
        self.bits[word] |= 1 << bit;
        while self.bits.front() == Some(&u64::MAX) {
            self.bits.pop_front();
            self.base += 64;
        }
        if seq < self.next {
            return Seen::Late;
        }
        self.next = seq + 1;
        Seen::InOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_quantiles() {
        let mut h = Hist::new();
        for v in 1..=100_000u64 {
            h.record(v * 10);
        }
        for q in [0.5, 0.95, 0.99, 0.999] {
            let (got, want) = (h.quantile(q) as f64, 1_000_000.0 * q);
            assert!((got - want).abs() / want < 0.008, "{q}: {got} vs {want}");
        }
        assert_eq!(h.quantile(1.0), 1_000_000);
        for v in [0, 1, 127, 128, 129, 255, 256, 1 << 20, u64::MAX >> 1] {
            let up = Hist::value(Hist::index(v));
            assert!(up >= v && (up - v) as f64 <= v as f64 / 127.0 + 1.0, "{v} -> {up}");
        }
        h.record(u64::MAX);
    }

    #[test]
    fn tracker_finds_loss_duplicates_and_reordering() {
        let mut t = Tracker::default();
        assert_eq!([0, 1, 2].map(|s| t.see(s)), [Seen::InOrder; 3]);
        assert_eq!(t.see(1), Seen::Duplicate);
        assert_eq!(t.see(5), Seen::InOrder); // 3 and 4 missing, later messages are still "in order"
        assert_eq!(t.see(5), Seen::Duplicate);
        assert_eq!(t.see(3), Seen::Late);
        assert_eq!(t.see(3), Seen::Duplicate);
        assert_eq!(t.see(6), Seen::InOrder);
        assert_eq!(t.see(4), Seen::Late);
        for s in 7..1000 {
            assert_eq!(t.see(s), Seen::InOrder);
        }
        assert!(t.bits.len() <= 1, "bitmap shrinks once the gap is closed");
        assert_eq!(t.see(999), Seen::Duplicate);
    }
}

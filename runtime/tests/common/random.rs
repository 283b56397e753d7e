//! Random numbers whose seed can be given again.

use std::hash::{BuildHasher, RandomState};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// What `FILATURE_STRESS_SEED` says, or a seed by chance.
    pub fn seed() -> u64 {
        match std::env::var("FILATURE_STRESS_SEED") {
            Ok(seed) => seed.parse().expect("FILATURE_STRESS_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        }
    }

    /// With such a seed, which is printed for when the test fails.
    pub fn seeded() -> Random {
        let seed = Random::seed();
        eprintln!("to repeat this run: FILATURE_STRESS_SEED={seed}");
        Random(seed)
    }

    /// A generator of its own, for somebody else or for one of two that must
    /// agree.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 up to, but without, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

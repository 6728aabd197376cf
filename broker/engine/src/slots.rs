//! A table whose indices are given again, with a generation that tells old references from new.

/// Entries by index; a reference is (index, generation).
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Stores `value` and says where: (index, generation).
    ///
    /// # Panics
    /// With 2^32 entries, which no memory holds.
    pub fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(index) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.value = Some(value);
                return (index, slot.generation);
            }
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        assert!(index != u32::MAX, "a table holds fewer than 2^32 entries");
        self.slots.push(Slot { generation: 1, value: Some(value) });
        (index, 1)
    }

    /// Takes an entry out; its reference is dead from now on.
    pub fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// The entry, if the reference is alive.
    #[inline]
    pub fn get(&self, index: u32, generation: u32) -> Option<&T> {
        let slot = self.slots.get(index as usize)?;
        if slot.generation == generation { slot.value.as_ref() } else { None }
    }

    /// The entry, if the reference is alive.
    #[inline]
    pub fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation == generation { slot.value.as_mut() } else { None }
    }

    /// All entries with their references.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        (0u32..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| Some((index, slot.generation, slot.value.as_ref()?)))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_dies_with_its_entry() {
        let mut slots = Slots::default();
        let (index, generation) = slots.insert("a");

        assert_eq!(slots.remove(index, generation), Some("a"));
        let (again, next) = slots.insert("b");

        assert_eq!(again, index);
        assert_eq!(slots.get(index, generation), None);
        assert_eq!(slots.get(again, next), Some(&"b"));
        assert_eq!(slots.len(), 1);
    }
}

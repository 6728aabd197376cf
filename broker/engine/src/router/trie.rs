//! Topic Filters with wildcards, a node a level. Edges are found by one hash of (parent, level),
//! so a node costs the same whether it has one child or a million.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::leaf::Leaf;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// All filters that hold a wildcard.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    edges: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug, Default)]
struct Node {
    parent: u32,
    /// Number of children, `+` included.
    children: u32,
    /// The child for `+`, or `NONE`.
    plus: u32,
    level: Box<[u8]>,
    /// Filters that end with this level.
    leaf: Option<Box<Leaf>>,
    /// Filters that end with `/#` below this level; at the root, `#` itself.
    many: Option<Box<Leaf>>,
}

impl Default for Trie {
    fn default() -> Self {
        let root = Node { parent: NONE, plus: NONE, ..Node::default() };
        Self {
            nodes: vec![root],
            free: Vec::new(),
            edges: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Trie {
    fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    #[inline]
    fn hash(&self, parent: u32, level: &[u8]) -> u64 {
        self.hasher.hash_one((parent, level))
    }

    #[inline]
    fn child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        let hash = self.hash(parent, level);
        let found = self.edges.find(hash, |id| {
            self.node(*id).is_some_and(|node| node.parent == parent && *node.level == *level)
        });
        found.copied()
    }

    fn add_child(&mut self, parent: u32, level: &[u8]) -> u32 {
        let node = Node { parent, plus: NONE, level: level.into(), ..Node::default() };
        let id = if let Some(id) = self.free.pop() {
            if let Some(slot) = self.nodes.get_mut(id as usize) {
                *slot = node;
            }
            id
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        };
        assert!(id != NONE, "the trie holds fewer than 2^32 nodes");
        if let Some(parent_node) = self.nodes.get_mut(parent as usize) {
            parent_node.children += 1;
            if level == b"+" {
                parent_node.plus = id;
            }
        }
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.edges.insert_unique(hasher.hash_one((parent, level)), id, |other| {
            nodes
                .get(*other as usize)
                .map_or(0, |node| hasher.hash_one((node.parent, &*node.level)))
        });
        id
    }

    /// The leaf of `filter`, made if it is not there.
    pub fn leaf_mut(&mut self, filter: &str) -> &mut Leaf {
        let (path, ends_with_hash) = split(filter);
        let mut id = ROOT;
        for level in levels(path) {
            id = match self.child(id, level) {
                Some(child) => child,
                None => self.add_child(id, level),
            };
        }
        // The node exists: it was found or made above.
        let at = (id as usize).min(self.nodes.len() - 1);
        #[expect(clippy::indexing_slicing, reason = "`at` is below the length")]
        let node = &mut self.nodes[at];
        let slot = if ends_with_hash { &mut node.many } else { &mut node.leaf };
        slot.get_or_insert_with(Box::default)
    }

    /// The leaf of `filter`, if it is there.
    pub fn find_mut(&mut self, filter: &str) -> Option<&mut Leaf> {
        let (path, ends_with_hash) = split(filter);
        let id = levels(path).try_fold(ROOT, |id, level| self.child(id, level))?;
        let node = self.nodes.get_mut(id as usize)?;
        if ends_with_hash { node.many.as_deref_mut() } else { node.leaf.as_deref_mut() }
    }

    /// Takes the leaf of `filter` out if it is empty, with the nodes that nothing needs any more.
    pub fn prune(&mut self, filter: &str) {
        let (path, ends_with_hash) = split(filter);
        let Some(mut id) = levels(path).try_fold(ROOT, |id, level| self.child(id, level)) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(id as usize) {
            let slot = if ends_with_hash { &mut node.many } else { &mut node.leaf };
            if slot.as_ref().is_some_and(|leaf| leaf.is_empty()) {
                *slot = None;
            }
        }
        while id != ROOT {
            let Some(node) = self.node(id) else { return };
            if node.children > 0 || node.leaf.is_some() || node.many.is_some() {
                return;
            }
            id = self.remove_node(id);
        }
    }

    /// Takes a node without children out; its parent.
    fn remove_node(&mut self, id: u32) -> u32 {
        let Some(node) = self.nodes.get_mut(id as usize).map(std::mem::take) else { return ROOT };
        let hash = self.hash(node.parent, &node.level);
        if let Ok(entry) = self.edges.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        if let Some(parent) = self.nodes.get_mut(node.parent as usize) {
            parent.children -= 1;
            if *node.level == *b"+" {
                parent.plus = NONE;
            }
        }
        self.free.push(id);
        node.parent
    }

    /// Calls `hit` with the leaf of each filter that matches `topic` (MQTT 5 §4.7); how many nodes
    /// it looked at.
    pub fn each_match<'a>(&'a self, topic: &[u8], hit: impl FnMut(&'a Leaf)) -> usize {
        self.walk(topic, false, hit)
    }

    /// The same for those filters alone that begin with a wildcard.
    pub fn each_wildcard_first<'a>(&'a self, topic: &[u8], hit: impl FnMut(&'a Leaf)) -> usize {
        self.walk(topic, true, hit)
    }

    fn walk<'a>(
        &'a self,
        topic: &[u8],
        wildcard_first: bool,
        mut hit: impl FnMut(&'a Leaf),
    ) -> usize {
        if self.edges.is_empty() && self.node(ROOT).is_none_or(|root| root.many.is_none()) {
            return 0;
        }
        let mut steps = 0;
        // A wildcard at the start does not match a topic that begins with `$` [MQTT-4.7.2-1].
        let reserved = topic.first() == Some(&b'$');
        let mut ahead: Vec<(u32, Option<&[u8]>)> = Vec::with_capacity(8);
        ahead.push((ROOT, Some(topic)));
        while let Some((id, rest)) = ahead.pop() {
            steps += 1;
            let Some(node) = self.node(id) else { continue };
            let wildcard_allowed = id != ROOT || !reserved;
            if let (Some(leaf), true) = (&node.many, wildcard_allowed) {
                hit(leaf); // `a/#` matches `a` too [MQTT-4.7.1-2].
            }
            let Some(rest) = rest else {
                if let Some(leaf) = &node.leaf {
                    hit(leaf);
                }
                continue;
            };
            if node.children == 0 {
                continue;
            }
            let (level, next) = match rest.iter().position(|byte| *byte == b'/') {
                Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
                None => (rest, None),
            };
            if node.plus != NONE && wildcard_allowed {
                ahead.push((node.plus, next));
            }
            let only_plus = node.plus != NONE && node.children == 1;
            if only_plus || (wildcard_first && id == ROOT) {
                continue;
            }
            // A topic holds no `+`, so the literal edge is never the wildcard's.
            if let Some(child) = self.child(id, level) {
                ahead.push((child, next));
            }
        }
        steps
    }
}

/// The levels before a final `#`, and whether there is one. `#` alone has no levels before it.
fn split(filter: &str) -> (Option<&[u8]>, bool) {
    if filter == "#" {
        return (None, true);
    }
    match filter.strip_suffix("/#") {
        Some(path) => (Some(path.as_bytes()), true),
        None => (Some(filter.as_bytes()), false),
    }
}

fn levels(path: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    path.into_iter().flat_map(|path| path.split(|byte| *byte == b'/'))
}

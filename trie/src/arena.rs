//! Where the nodes of a subtrie live: blocks of a few sizes, by index.
//!
//! A branch holds the links of its children beside itself, so hashing it reads one place, and
//! takes only as much room as it has children: four in five have two or three. A leaf holds its
//! path and value. References are 32 bits: four for the size, 28 for the index. An arena belongs
//! to one subtrie and moves with it; nothing outside holds a reference into it.

use crate::nibbles::{Path, nibble};
use crate::node::Link;
use crate::slab::Slab;

/// A node of one arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

impl NodeId {
    /// A branch that is not in memory; its record is in the store.
    pub(crate) const UNLOADED: Self = Self(0);
    const INDEX_BITS: u32 = 28;

    fn new(size: u32, index: usize) -> Self {
        assert!(index < 1 << Self::INDEX_BITS, "a subtrie holds at most 2^28 nodes of one size");
        Self(size << Self::INDEX_BITS | index as u32)
    }

    fn size(self) -> u32 {
        self.0 >> Self::INDEX_BITS
    }

    fn index(self) -> usize {
        (self.0 & ((1 << Self::INDEX_BITS) - 1)) as usize
    }

    pub(crate) fn is_leaf(self) -> bool {
        self.size() >= FIRST_LEAF_SIZE
    }

    pub(crate) fn is_unloaded(self) -> bool {
        self == Self::UNLOADED
    }
}

/// What a branch says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Which children there are.
    pub(crate) mask: u16,
    /// Which links are encodings instead of hashes.
    pub(crate) inlined: u16,
    /// Which links are out of date.
    pub(crate) dirty: u16,
    /// The nibble of a path that chooses the child.
    pub(crate) depth: u8,
    /// Whether it was visited since memory was last swept.
    pub(crate) visited: bool,
    /// The checkpoint that has to write it; 0 when the store holds it.
    pub(crate) checkpoint: u32,
    /// The first `depth` nibbles of all paths below, the rest zero.
    pub(crate) path: Path,
}

#[derive(Clone, Copy)]
struct BranchBlock<const SIZE: usize> {
    head: Head,
    children: [NodeId; SIZE],
    links: [[u8; 32]; SIZE],
}

#[derive(Clone, Copy)]
struct LeafBlock<const SIZE: usize> {
    path: Path,
    length: u8,
    value: [u8; SIZE],
}

struct LongLeaf {
    path: Path,
    value: Box<[u8]>,
}

/// A branch, read.
#[derive(Clone, Copy)]
pub(crate) struct Branch<'a> {
    pub(crate) head: &'a Head,
    children: &'a [NodeId],
    links: &'a [[u8; 32]],
}

/// A leaf, read.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) path: &'a Path,
    pub(crate) value: &'a [u8],
}

/// A branch with room for all children, to build one or change its size.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) head: Head,
    pub(crate) children: [NodeId; 16],
    pub(crate) links: [[u8; 32]; 16],
}

/// Index of `nibble`'s child among the children of `mask`.
fn position(mask: u16, nibble: u8) -> usize {
    (mask & ((1 << nibble) - 1)).count_ones() as usize
}

impl<'a> Branch<'a> {
    pub(crate) fn child(&self, nibble: u8) -> Option<NodeId> {
        (self.head.mask >> nibble & 1 == 1).then(|| self.children[position(self.head.mask, nibble)])
    }

    pub(crate) fn link(&self, nibble: u8) -> Link {
        let bytes = self.links[position(self.head.mask, nibble)];
        Link { bytes, inlined: self.head.inlined >> nibble & 1 == 1 }
    }

    /// The links of its children, in order.
    pub(crate) fn links(&self) -> &'a [[u8; 32]] {
        &self.links[..self.head.mask.count_ones() as usize]
    }
}

/// Writes the arena once for the list of its sizes: `$number` is the size's code in a [`NodeId`].
macro_rules! arena {
    (
        branches { $($branch:ident: $branch_code:literal = $children:literal,)+ }
        leaves { $($leaf:ident: $leaf_code:literal = $bytes:literal,)+ }
        long: $long_code:literal
    ) => {
        const FIRST_LEAF_SIZE: u32 = [$($leaf_code),+][0];

        /// The nodes of one subtrie.
        #[derive(Default)]
        pub(crate) struct Arena {
            $($branch: Slab<BranchBlock<$children>>,)+
            $($leaf: Slab<LeafBlock<$bytes>>,)+
            long: Slab<LongLeaf>,
            long_bytes: usize,
        }

        impl Arena {
            pub(crate) fn branch(&self, id: NodeId) -> Branch<'_> {
                match id.size() {
                    $($branch_code => {
                        let block = self.$branch.get(id.index());
                        Branch { head: &block.head, children: &block.children, links: &block.links }
                    })+
                    _ => unreachable!("a branch was asked for, the node is none"),
                }
            }

            fn block_mut(&mut self, id: NodeId) -> (&mut Head, &mut [NodeId], &mut [[u8; 32]]) {
                match id.size() {
                    $($branch_code => {
                        let block = self.$branch.get_mut(id.index());
                        (&mut block.head, &mut block.children, &mut block.links)
                    })+
                    _ => unreachable!("a branch was asked for, the node is none"),
                }
            }

            pub(crate) fn leaf(&self, id: NodeId) -> Leaf<'_> {
                match id.size() {
                    $($leaf_code => {
                        let block = self.$leaf.get(id.index());
                        Leaf { path: &block.path, value: &block.value[..block.length.into()] }
                    })+
                    $long_code => {
                        let block = self.long.get(id.index());
                        Leaf { path: &block.path, value: &block.value }
                    }
                    _ => unreachable!("a leaf was asked for, the node is none"),
                }
            }

            pub(crate) fn insert_branch(&mut self, draft: &Draft) -> NodeId {
                match draft.head.mask.count_ones() as usize {
                    $(0..=$children => {
                        let mut block = BranchBlock {
                            head: draft.head,
                            children: [NodeId::UNLOADED; $children],
                            links: [[0; 32]; $children],
                        };
                        block.children.copy_from_slice(&draft.children[..$children]);
                        block.links.copy_from_slice(&draft.links[..$children]);
                        NodeId::new($branch_code, self.$branch.insert(block))
                    })+
                    _ => unreachable!("a branch has at most 16 children"),
                }
            }

            pub(crate) fn insert_leaf(&mut self, path: &Path, value: &[u8]) -> NodeId {
                match value.len() {
                    $(0..=$bytes => {
                        let mut block = LeafBlock { path: *path, length: value.len() as u8, value: [0; $bytes] };
                        block.value[..value.len()].copy_from_slice(value);
                        NodeId::new($leaf_code, self.$leaf.insert(block))
                    })+
                    _ => {
                        self.long_bytes += value.len();
                        NodeId::new($long_code, self.long.insert(LongLeaf { path: *path, value: value.into() }))
                    }
                }
            }

            /// Gives a leaf another value, in place where it fits the same size.
            pub(crate) fn set_value(&mut self, id: NodeId, value: &[u8]) -> NodeId {
                match (id.size(), value.len()) {
                    $(($leaf_code, 0..=$bytes) if value.len() + WASTED_MAX > $bytes => {
                        let block = self.$leaf.get_mut(id.index());
                        block.length = value.len() as u8;
                        block.value[..value.len()].copy_from_slice(value);
                        id
                    })+
                    _ => {
                        let path = *self.leaf(id).path;
                        self.remove(id);
                        self.insert_leaf(&path, value)
                    }
                }
            }

            /// Frees the node; its children stay.
            pub(crate) fn remove(&mut self, id: NodeId) {
                match id.size() {
                    $($branch_code => self.$branch.remove(id.index()),)+
                    $($leaf_code => self.$leaf.remove(id.index()),)+
                    $long_code => {
                        let value = std::mem::take(&mut self.long.get_mut(id.index()).value);
                        self.long_bytes -= value.len();
                        self.long.remove(id.index());
                    }
                    _ => {}
                }
            }

            /// Has the processor fetch a node that will soon be read.
            pub(crate) fn fetch(&self, id: NodeId) {
                match id.size() {
                    $($branch_code => self.$branch.fetch(id.index()),)+
                    $($leaf_code => self.$leaf.fetch(id.index()),)+
                    $long_code => self.long.fetch(id.index()),
                    _ => {}
                }
            }

            /// Bytes of the nodes in use.
            pub(crate) fn live_bytes(&self) -> usize {
                0 $(+ self.$branch.live_bytes())+ $(+ self.$leaf.live_bytes())+
                    + self.long.live_bytes() + self.long_bytes
            }

            /// Children a block has room for, to tell whether a branch has to move.
            fn room(id: NodeId) -> usize {
                match id.size() {
                    $($branch_code => $children,)+
                    _ => 0,
                }
            }

            fn least_room(count: usize) -> usize {
                match count {
                    $(0..=$children => $children,)+
                    _ => 16,
                }
            }
        }
    };
}

/// A leaf whose new value leaves no more room than this unused stays where it is.
const WASTED_MAX: usize = 48;

arena! {
    branches { two: 1 = 2, three: 2 = 3, four: 3 = 4, six: 4 = 6, ten: 5 = 10, sixteen: 6 = 16, }
    leaves { l47: 7 = 47, l63: 8 = 63, l79: 9 = 79, l95: 10 = 95, l111: 11 = 111, }
    long: 12
}

impl Arena {
    /// The node in memory that a branch leads to on the way to `path`.
    pub(crate) fn towards(&self, node: NodeId, path: &Path) -> Option<NodeId> {
        if node.is_leaf() {
            return None;
        }
        let branch = self.branch(node);
        branch.child(nibble(path, branch.head.depth.into())).filter(|child| !child.is_unloaded())
    }

    pub(crate) fn head_mut(&mut self, id: NodeId) -> &mut Head {
        self.block_mut(id).0
    }

    /// Sets the link of a child that is there.
    pub(crate) fn set_link(&mut self, id: NodeId, nibble: u8, link: &Link) {
        let (head, _, links) = self.block_mut(id);
        links[position(head.mask, nibble)] = link.bytes;
        head.inlined = head.inlined & !(1 << nibble) | u16::from(link.inlined) << nibble;
    }

    /// Puts `child` in the place of the one that is there.
    pub(crate) fn replace_child(&mut self, id: NodeId, nibble: u8, child: NodeId) {
        let (head, children, _) = self.block_mut(id);
        children[position(head.mask, nibble)] = child;
    }

    /// Adds, replaces or removes a child. The branch may have to move to a block of another size.
    pub(crate) fn set_child(&mut self, id: NodeId, nibble: u8, child: Option<NodeId>) -> NodeId {
        let mask = self.branch(id).head.mask;
        match (child, mask >> nibble & 1 == 1) {
            (Some(child), true) => {
                self.replace_child(id, nibble, child);
                id
            }
            (None, false) => id,
            (child, _) => {
                let mut draft = self.draft(id);
                draft.set_child(nibble, child);
                self.resize(id, &draft)
            }
        }
    }

    fn resize(&mut self, id: NodeId, draft: &Draft) -> NodeId {
        let room = Self::room(id);
        if room != Self::least_room(draft.head.mask.count_ones() as usize) {
            self.remove(id);
            return self.insert_branch(draft);
        }
        let (head, children, links) = self.block_mut(id);
        *head = draft.head;
        children.copy_from_slice(&draft.children[..room]);
        links.copy_from_slice(&draft.links[..room]);
        id
    }

    fn draft(&self, id: NodeId) -> Draft {
        let branch = self.branch(id);
        let mut draft = Draft::new(*branch.head);
        draft.children[..branch.children.len()].copy_from_slice(branch.children);
        draft.links[..branch.links.len()].copy_from_slice(branch.links);
        draft
    }
}

impl Draft {
    pub(crate) fn new(head: Head) -> Self {
        Self { head, children: [NodeId::UNLOADED; 16], links: [[0; 32]; 16] }
    }

    /// Adds or removes a child; the link of a new one is empty.
    fn set_child(&mut self, nibble: u8, child: Option<NodeId>) {
        let count = self.head.mask.count_ones() as usize;
        let at = position(self.head.mask, nibble);
        let bit = 1 << nibble;
        if let Some(child) = child {
            self.children.copy_within(at..count, at + 1);
            self.links.copy_within(at..count, at + 1);
            (self.children[at], self.links[at]) = (child, [0; 32]);
            self.head.mask |= bit;
        } else {
            self.children.copy_within(at + 1..count, at);
            self.links.copy_within(at + 1..count, at);
            self.head.mask &= !bit;
            self.head.dirty &= !bit;
        }
        self.head.inlined &= !bit;
    }

    /// Adds a child beyond all that are there.
    pub(crate) fn push(&mut self, nibble: u8, child: NodeId, link: Link) {
        let at = self.head.mask.count_ones() as usize;
        (self.children[at], self.links[at]) = (child, link.bytes);
        self.head.mask |= 1 << nibble;
        self.head.inlined |= u16::from(link.inlined) << nibble;
    }
}
